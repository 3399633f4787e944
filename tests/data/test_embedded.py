"""The embedded digits: what is in them, against the facts of the published set."""

import torch

import mosaic
from mosaic_data.embedded import Digits


def test_digits_are_the_published_set() -> None:
    digits = Digits().load()
    assert digits.images.shape == (1797, 1, 8, 8)
    assert digits.images.dtype == torch.float32
    assert digits.labels is not None
    # Class counts of scikit-learn's documentation of the set.
    assert digits.labels.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert digits.labels[:12].tolist() == [*range(10), 0, 1]
    assert digits.classes == tuple("0123456789")
    assert digits.scales is None
    assert "10.24432/C50P49" in digits.origin


def test_digits_map_0_to_16_onto_minus_1_to_1() -> None:
    images = Digits().load().images
    assert images.min() == -1
    assert images.max() == 1
    # The first image's second row, as the original text file has it.
    assert ((images[0, 0, 1] + 1) * 8).tolist() == [0, 0, 13, 15, 10, 15, 5, 0]


def test_digits_limit_is_balanced_and_repeatable() -> None:
    source = Digits(Digits.Options(limit=50, limit_seed=3))
    first, second = source.load(), source.load()
    assert first.labels is not None
    assert first.labels.bincount().tolist() == [5] * 10
    assert first.fingerprint() == second.fingerprint()
    assert first.fingerprint() != Digits(Digits.Options(limit=50, limit_seed=4)).load().fingerprint()


def test_digits_are_always_available_and_registered() -> None:
    assert Digits().available() is None
    assert mosaic.registry().get("dataset", "digits") is Digits
