"""The configuration of a training."""

from __future__ import annotations

import pytest

import mosaic


@pytest.mark.parametrize(
    ("epochs", "batch_size", "images", "steps"), [(3, 5, 12, 9), (1, 128, 12, 1), (2, 4, 12, 6), (7, 1, 12, 84)]
)
def test_the_last_step_of_an_epoch_takes_the_images_that_are_left(
    epochs: int, batch_size: int, images: int, steps: int
) -> None:
    assert mosaic.TrainConfig(epochs=epochs, batch_size=batch_size).total_steps(images) == steps


@pytest.mark.parametrize("setting", [{"epochs": 0}, {"learning_rate": 0}, {"ema": 1}, {"precision": "float64"}])
def test_values_out_of_bounds_are_refused(setting: dict[str, object]) -> None:
    (name,) = setting
    with pytest.raises(mosaic.UsageError, match=name):
        mosaic.TrainConfig.parse(setting, "train")
