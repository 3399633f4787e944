"""Patches of the pixels that matter to a network: heat maps, masks and the composite, each by brute force."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_training
import theory_oracle
import torch
from theories import images_of, noisy

import mosaic
from mosaic_plugins.flexible_patches import SHARES, FlexiblePatches, composite_of, masks_of


@pytest.fixture
def folder(tiny: mosaic.DataSet) -> Path:
    return small_training.train(tiny).folder


def flexible(dataset: mosaic.DataSet, folder: Path, **options: Any) -> FlexiblePatches:
    return FlexiblePatches(FlexiblePatches.Options(checkpoint=folder, **{"images": 3, **options}), dataset)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.7, 0.999, 1.0])
def test_a_mask_is_the_fewest_pixels_with_more_than_the_share(share: float) -> None:
    maps = torch.rand(6, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    maps[2, 3:] = 0.0
    maps[3, :] = 0.5
    for values, mask in zip(maps.numpy(), masks_of(maps, share).numpy(), strict=True):
        total = values.sum()
        assert values[mask].sum() > share * total or mask.all()
        kept = np.sort(values[mask])
        assert kept[0] >= values[~mask].max(initial=0)
        assert kept[1:].sum() <= share * total * (1 + 1e-12) or mask.all()


@pytest.mark.parametrize(("share", "kept"), [(0.62, [1]), (0.625, [1, 3]), (0.81, [1, 3]), (0.8125, [0, 1, 3])])
def test_a_mask_that_would_hold_the_share_exactly_has_a_pixel_more(share: float, kept: list[int]) -> None:
    """As the published code keeps, from the least pixel up, those whose sums reach 1 - share."""
    maps = torch.tensor([[1.0, 5.0, 0.5, 1.5]], dtype=torch.float64)
    assert masks_of(maps, share)[0].nonzero()[:, 0].tolist() == kept
    values, places = maps[0].sort()
    assert sorted(places[values.cumsum(0) >= (1 - share) * 8].tolist()) == kept


def test_heat_maps_are_means_of_the_absolute_jacobian_of_each_channel(tiny: mosaic.DataSet, folder: Path) -> None:
    model, network = flexible(tiny, folder), mosaic.score(folder, tiny)
    level = network.schedule.level(0.4)
    heat = model.heat_maps(level)
    generator = torch.Generator().manual_seed(0)
    places = torch.randperm(len(tiny), generator=generator)[:3]
    x = level.signal * tiny.images[places] + level.noise * torch.randn(3, *tiny.shape, generator=generator)
    expected = torch.zeros_like(heat)
    for sample in x:
        jacobian = torch.autograd.functional.jacobian(lambda z: network.denoise(z[None], level=level)[0], sample)
        for channel in range(tiny.shape[0]):
            expected += jacobian[channel, :, :, channel].abs().flatten(2).flatten(0, 1).double() / 3
    torch.testing.assert_close(heat, expected, rtol=1e-4, atol=1e-6)
    assert float(heat.diagonal().min()) > 0


@pytest.mark.parametrize("level", [(1.0, 0.05), (0.9, 0.4), (0.4, 0.9)])
def test_a_composite_averages_the_means_of_patches_of_any_shape(level: tuple[float, float]) -> None:
    images = images_of(height=4, width=3)
    masks = torch.rand(12, 12, generator=torch.Generator().manual_seed(1)) < 0.3
    masks |= torch.eye(12, dtype=torch.bool)
    x, filters = noisy(images, level), composite_of(masks, 2)
    actual = mosaic.filtered_posterior_mean(torch.as_tensor(x), torch.as_tensor(images), mosaic.Level(*level), filters)
    shaped = masks.view(12, 4, 3).numpy()
    expected = [theory_oracle.masked_composite(sample, images, shaped, *level) for sample in x]
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-10)


def test_a_pixel_in_no_patch_is_that_of_its_own() -> None:
    masks = torch.zeros(3, 3, dtype=torch.bool)
    masks[:, 0] = True
    filters = composite_of(masks, 1)
    assert filters.responses.tolist() == [[1 / 3, 0, 0], [1 / 3, 1, 0], [1 / 3, 0, 1]]
    assert torch.equal(filters.precisions, masks.double())


def test_squares_as_masks_are_the_square_patches() -> None:
    images = torch.as_tensor(images_of(height=5, width=4))
    level, x = mosaic.Level(0.8, 0.6), torch.as_tensor(noisy(images.numpy(), (0.8, 0.6)))
    places = torch.arange(20).view(5, 4)
    corners = [places[i : i + 2, j : j + 2].flatten() for i in range(4) for j in range(3)]
    masks = torch.zeros(20, 20, dtype=torch.bool)
    masks[torch.arange(12)[:, None], torch.stack(corners)] = True
    filters = composite_of(masks, 2)
    square = mosaic.registry().get("score", "patch-posterior")(None, mosaic.DataSet("t", images))
    torch.testing.assert_close(
        mosaic.filtered_posterior_mean(x, images, level, filters), square.denoise(x, level, None, 2), rtol=0, atol=1e-10
    )


def test_the_whole_share_is_the_ideal_machine_and_a_small_one_is_local(tiny: mosaic.DataSet, folder: Path) -> None:
    level = mosaic.load_checkpoint(folder).make_schedule().level(0.3)
    x = tiny.images[:2] * level.signal + level.noise * torch.randn(2, *tiny.shape)
    ideal = mosaic.score("is", tiny).denoise(x, level=level)
    whole = FlexiblePatches(FlexiblePatches.Options(checkpoint=folder, share=1.0), tiny)  # it needs no heat maps
    local = flexible(tiny, folder, share=0.2)
    torch.testing.assert_close(whole.denoise(x, level), ideal, rtol=0, atol=1e-5)
    assert float((local.denoise(x, level) - ideal).abs().max()) > 1e-3
    assert local.filters_at(level).precisions.mean() < 0.5


@pytest.mark.parametrize("unused", [{"images": 3}, {"seed": 1}])
def test_what_heat_maps_are_made_of_is_refused_where_there_are_none(
    tiny: mosaic.DataSet, folder: Path, unused: dict[str, int]
) -> None:
    with pytest.raises(mosaic.UsageError, match=rf"{next(iter(unused))}=\d .*share=1"):
        mosaic.score("patch-posterior-flex", tiny, checkpoint=folder, share=1.0, **unused)


def test_mirror_images_count_on_request(tiny: mosaic.DataSet, folder: Path) -> None:
    level = mosaic.load_checkpoint(folder).make_schedule().level(0.3)
    x = tiny.images[:2] * level.signal + level.noise * torch.randn(2, *tiny.shape)
    mirrored, plain = (flexible(tiny, folder, share=0.4, flips=flips) for flips in (True, False))
    both = torch.cat([tiny.images, tiny.images.flip(3)])
    expected = mosaic.filtered_posterior_mean(x, both, level, plain.filters_at(level)).float()
    torch.testing.assert_close(mirrored.denoise(x, level), expected, rtol=0, atol=1e-6)
    assert mirrored.traits.comparisons(0) == 2 * plain.traits.comparisons(0)


def test_by_default_shares_are_the_published_ones(tiny: mosaic.DataSet, folder: Path) -> None:
    model = flexible(tiny, folder)
    ends = [sigma ** (1 / 7) for sigma in (80, 0.002)]
    sigmas = [(ends[0] + i / 17 * (ends[1] - ends[0])) ** 7 for i in range(18)]
    published = [1.0] * 7 + [0.7, 0.7, 0.5, 0.4, 0.4, 0.4, 0.4, 0.3, 0.3, 0.3, 0.3]  # from sigma 80 to 0.002
    assert [model.share_at(mosaic.Level(1.0, sigma)) for sigma in sigmas] == published
    assert list(SHARES) == published[::-1]
    assert min(sigma for sigma, share in zip(sigmas, published, strict=True) if share == 1) == pytest.approx(8.4, 0.01)


def test_it_needs_a_network_and_is_no_checkpoint_itself(tiny: mosaic.DataSet, folder: Path) -> None:
    with pytest.raises(mosaic.UsageError, match=r"'checkpoint'"):
        FlexiblePatches.Options.parse({}, "score.patch-posterior-flex")
    assert mosaic.registry().checkpoint_score() == "network"
    model = flexible(tiny, folder)
    assert ("network", "resnet") in model.traits.plugins()
    assert model.traits.fingerprint() == model.network.traits.fingerprint()
    assert model.traits.comparisons(0) == 30 * len(tiny)
    with pytest.raises(mosaic.UsageError):
        model.check((mosaic.Level(0.5, 0.5),), (0,), (-1,))  # no level of the network's schedule
    memory = model.traits.memory(2, 0, torch.float32, (-1,))
    assert memory is not None
    assert memory.held > 2**20
