"""Data sets: what is refused, what identifies them, classes and subsets."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

import mosaic
from mosaic import DataSet

IMAGES = torch.rand(6, 2, 3, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
LABELS = torch.tensor([0, 2, 1, 2, 0, 2])


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"images": torch.zeros(6, 3, 4)}, r"float32.*\(6, 3, 4\)"),
        ({"images": torch.zeros(6, 2, 3, 4, dtype=torch.uint8)}, "uint8"),
        ({"images": torch.zeros(0, 2, 3, 4)}, r"\(0, 2, 3, 4\)"),
        ({"images": IMAGES * 255, "labels": None}, r"\[-1, 1\]"),
        ({"images": IMAGES, "range": (0.0, 1.0)}, r"\[0, 1\]"),
        ({"labels": LABELS[:5]}, r"6 .*\(5,\)"),
        ({"labels": LABELS.float()}, "float32"),
        ({"labels": LABELS - 1}, r"\[-1, 1\]"),
        ({"labels": LABELS, "classes": ("a", "b")}, r"\[0, 2\].*2 "),
        ({"names": ["a", "b"]}, "2 .*6 "),
        ({"names": [*"abcde", 6]}, "names.* 6"),
        ({"names": [*"abcde", "\udcff"]}, "udcff"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_with_the_name_of_the_set(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(mosaic.DataError, match=rf"'rooms'.*{named}"):
        DataSet(**{"name": "rooms", "images": IMAGES, **arguments})


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_the_first_image_that_is_not_finite_is_named(bad: float) -> None:
    images = IMAGES.clone()
    images[3, 1, 0, 2] = images[5] = bad
    with pytest.raises(mosaic.DataError, match=r"\b3\b"):
        DataSet("rooms", images)


def test_classes_are_named_by_their_numbers_unless_they_have_names() -> None:
    assert DataSet("rooms", IMAGES).classes == ()
    assert DataSet("rooms", IMAGES, LABELS).classes == ("0", "1", "2")
    assert DataSet("rooms", IMAGES, LABELS, ("a", "b", "c", "none of these")).classes[3] == "none of these"


def test_the_range_is_the_sets_own() -> None:
    assert DataSet("rooms", IMAGES * 3, range=(-3.0, 3.0)).range == (-3.0, 3.0)
    assert DataSet("rooms", IMAGES).shape == (2, 3, 4)


def test_a_fingerprint_is_that_of_pixels_shape_precision_and_labels() -> None:
    same = DataSet("rooms", IMAGES, LABELS).fingerprint()
    strided = IMAGES.contiguous(memory_format=torch.channels_last)
    assert DataSet("another name", strided, LABELS.clone(), origin="elsewhere").fingerprint() == same
    changed = IMAGES.clone()
    changed[5, 1, 2, 3] += 1e-6
    others = [
        DataSet("rooms", changed, LABELS),
        DataSet("rooms", IMAGES),
        DataSet("rooms", IMAGES, LABELS.flip(0)),
        DataSet("rooms", IMAGES.double(), LABELS),
        DataSet("rooms", IMAGES.reshape(6, 2, 4, 3), LABELS),
        DataSet("rooms", IMAGES, LABELS).select(torch.tensor([1, 0, 2, 3, 4, 5])),
    ]
    assert len({same, *(other.fingerprint() for other in others)}) == 7


def test_a_fingerprint_notices_a_change_in_place() -> None:
    dataset = DataSet("rooms", IMAGES.clone(), LABELS.clone())
    before = dataset.fingerprint()
    dataset.images[0, 0, 0, 0] = 0
    changed = dataset.fingerprint()
    assert dataset.labels is not None
    dataset.labels[0] = 1
    assert len({before, changed, dataset.fingerprint()}) == 3
    assert dataset.fingerprint() == DataSet("rooms", dataset.images.clone(), dataset.labels.clone()).fingerprint()


def test_what_is_selected_keeps_its_order_labels_and_classes() -> None:
    dataset = DataSet("rooms", IMAGES, LABELS, ("a", "b", "c"))
    part = dataset.select(torch.tensor([4, 1]))
    assert torch.equal(part.images, IMAGES[[4, 1]])
    assert part.labels is not None
    assert part.labels.tolist() == [0, 2]
    assert (part.classes, len(part), len(dataset)) == (("a", "b", "c"), 2, 6)


def test_images_keep_their_names_and_are_called_by_them() -> None:
    named = DataSet("rooms", IMAGES, LABELS, names=[f"{letter}\n.png" for letter in "abcdef"])
    for part in (named.select(torch.tensor([4, 1])), named.select(torch.tensor([4, 1])).to("cpu")):
        assert part.names == ("e\n.png", "b\n.png")
        assert [part.name_of(place) for place in (0, 1)] == [r"e\n.png", r"b\n.png"]
    assert named.select(LABELS == 1).names == ("c\n.png",)
    assert named.fingerprint() == DataSet("rooms", IMAGES, LABELS).fingerprint()


def test_images_without_names_are_called_by_their_places() -> None:
    rooms = DataSet("rooms", IMAGES)
    assert (rooms.names, rooms.name_of(5)) == ((), "#5")
    for index in (-1, 6):
        with pytest.raises(mosaic.UsageError, match=f"{index};.*0 to 5"):
            rooms.name_of(index)


def test_samples_are_compared_with_the_images_of_their_class_or_all() -> None:
    dataset = DataSet("rooms", IMAGES, LABELS)
    wanted = torch.tensor([2, -1, 0, 2])
    groups = [
        (members.tolist(), None if places is None else places.tolist())
        for members, places in dataset.class_groups(wanted)
        if isinstance(members, torch.Tensor)
    ]
    assert sorted(groups, key=str) == sorted(
        [
            ([True, False, False, True], [1, 3, 5]),
            ([False, True, False, False], None),
            ([False, False, True, False], [0, 4]),
        ],
        key=str,
    )
    for nobody in (None, torch.tensor([-1, -1])):
        assert list(DataSet("rooms", IMAGES).class_groups(nobody)) == [(slice(None), None)]


def test_a_label_without_images_is_refused_by_number() -> None:
    with pytest.raises(mosaic.UsageError, match=r"'rooms'.*\b1\b.*0, 2"):
        list(DataSet("rooms", IMAGES[[0, 1]], LABELS[[0, 1]]).class_groups(torch.tensor([1])))
    with pytest.raises(mosaic.UsageError, match=r"'rooms'.*\b1\b"):
        list(DataSet("rooms", IMAGES).class_groups(torch.tensor([-1, 1])))


@pytest.mark.parametrize("limit", [1, 2, 7, 12, 19, 20, 50])
def test_a_subset_is_as_even_over_classes_as_they_allow(limit: int) -> None:
    labels = torch.tensor([0] * 10 + [1] * 2 + [2] * 8)[torch.randperm(20, generator=torch.Generator().manual_seed(3))]
    chosen = mosaic.balanced_subset(20, limit, 0, labels)
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert len(chosen) == min(limit, 20)
    kept, whole = Counter(labels[chosen].tolist()), Counter(labels.tolist())
    for label in whole:  # none is more than one image ahead of a class that has images left
        assert all(kept[other] <= kept[label] + 1 for other in whole) or kept[label] == whole[label]


@pytest.mark.parametrize("labels", [None, torch.arange(20) % 3])
def test_what_a_subset_skips_is_the_smaller_subset(labels: torch.Tensor | None) -> None:
    for skip in range(21):
        first, rest = mosaic.balanced_subset(20, skip, 1, labels), mosaic.balanced_subset(20, 99, 1, labels, skip)
        assert sorted([*first.tolist(), *rest.tolist()]) == list(range(20))
        part = mosaic.balanced_subset(20, 7, 1, labels, skip)
        assert len(part) == min(7, 20 - skip)
        assert set(part.tolist()) <= set(rest.tolist())
        if labels is not None and skip <= 12:
            counts = labels[part].bincount(minlength=3)
            assert int(counts.max() - counts.min()) <= 2


def test_subsets_are_seeded_and_uniform() -> None:
    assert torch.equal(mosaic.balanced_subset(30, 9, 5), mosaic.balanced_subset(30, 9, 5))
    times = torch.zeros(30)
    for seed in range(400):
        times[mosaic.balanced_subset(30, 9, seed)] += 1
    assert float((times / 400 - 0.3).abs().max()) < 0.1  # four standard deviations


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((-5, 2, 0), "count"),
        ((5, -1, 0), "limit"),
        ((5, 2.5, 0), "limit"),
        ((5, 2, -1), "seed"),
        ((5, 2, 0, LABELS[:4]), "5"),
        ((5, 2, 0, None, -1), "skip"),
    ],
)
def test_a_subset_that_cannot_be_chosen_is_refused(arguments: tuple[Any, ...], named: str) -> None:
    with pytest.raises(mosaic.UsageError, match=named):
        mosaic.balanced_subset(*arguments)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_images_of_every_floating_point_type_compute(dtype: torch.dtype) -> None:
    images = torch.linspace(-1, 1, 32).reshape(2, 1, 4, 4).to(dtype)
    dataset = DataSet("rooms", images)
    assert dataset.images.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert torch.equal(dataset.images, images.to(dataset.images.dtype))
    assert len(dataset.fingerprint()) == 64


def test_images_of_a_network_are_taken_without_its_gradients() -> None:
    dataset = DataSet("rooms", IMAGES.clone().requires_grad_())
    assert not dataset.images.requires_grad
    assert dataset.fingerprint() == DataSet("rooms", IMAGES).fingerprint()


def test_lists_are_taken_where_they_can_mean_one_thing_only() -> None:
    wanted = DataSet("rooms", IMAGES, LABELS, ("a", "b", "c"), notes=("one",))
    for images in (list(IMAGES), tuple(IMAGES), list(IMAGES.numpy())):
        given: dict[str, Any] = {
            "labels": LABELS.tolist(),
            "classes": ["a", "b", "c"],
            "range": [-1, 1],
            "notes": ["one"],
        }
        dataset = DataSet("rooms", images, **given)  # type: ignore[arg-type]
        assert dataset.fingerprint() == wanted.fingerprint()
        assert (dataset.classes, dataset.range, dataset.notes) == (wanted.classes, wanted.range, wanted.notes)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        (
            "range",
            [3, (0.5,), (1.0, -1.0), (0, 0), (math.nan, 1.0), (-math.inf, math.inf), (-1, 1, 2), (-1e300, 1e300)],
        ),
        ("scales", [5, [3, 5], b"3"]),
        ("training", [3, {3: 4}, {"networks": 3}, {"networks": {"resnet": 3}}]),
        ("notes", ["one note", [3], 3]),
        ("classes", ["abc", 3]),
        ("metadata", [3, {"a": 1}]),
        ("rule", [3, "a rule"]),
        ("origin", [3]),
    ],
)
def test_a_field_of_another_kind_is_refused_by_name(field: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(mosaic.DataError, match=rf"'rooms'.*{field}"):
            DataSet("rooms", IMAGES, **{field: value})


@pytest.mark.parametrize("dtype", ["<f4", ">f4"])
@pytest.mark.parametrize("labels", ["<i8", ">i4", "u1"])
def test_numpy_arrays_are_the_same_data_set_and_are_copied(dtype: str, labels: str) -> None:
    images = IMAGES.numpy().astype(dtype)
    dataset = DataSet("rooms", images, LABELS.numpy().astype(labels))  # type: ignore[arg-type]
    images[:] = 0
    assert dataset.fingerprint() == DataSet("rooms", IMAGES, LABELS).fingerprint()
    assert dataset.classes == ("0", "1", "2")


def test_arrays_that_torch_lacks_are_converted() -> None:
    images = IMAGES.numpy()[:, :, ::-1].astype(np.longdouble)
    assert torch.equal(DataSet("rooms", images).images, IMAGES.flip(2).double())  # type: ignore[arg-type]
    frozen = IMAGES.numpy().copy()
    frozen.flags.writeable = False
    assert torch.equal(DataSet("rooms", frozen).images, IMAGES)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"images": IMAGES.tolist()}, "list"),
        ({"images": IMAGES.to_sparse()}, "sparse"),
        ({"images": IMAGES.to("meta")}, "meta"),
        ({"images": IMAGES.numpy().astype(object)}, "object"),
        ({"images": np.ma.masked_less(IMAGES.numpy(), 0)}, "masked"),
        ({"images": [IMAGES[0], IMAGES[1][:, :2]]}, r"\(2, 2, 4\).*\(2, 3, 4\)"),
        ({"images": [IMAGES[0], IMAGES[1].numpy()]}, "list"),
        ({"images": list(np.ma.masked_less(IMAGES.numpy(), 0))}, "masked"),
        ({"images": IMAGES.numpy() * np.longdouble("1e4000"), "range": (-1e9, 1e9)}, "infinity"),
        ({"images": IMAGES.numpy().astype(complex)}, "complex"),
        ({"labels": [0, 2, 1, 2, 0, "a"]}, "list"),
        ({"labels": [True, False, True, False, True, True]}, "bool"),
        ({"labels": LABELS.numpy().astype(float)}, "float64"),
        ({"labels": LABELS[:0]}, r"\(0,\)"),
    ],
)
def test_what_is_no_array_of_numbers_is_refused(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(mosaic.DataError, match=rf"'rooms'.*{named}"):
        DataSet(**{"name": "rooms", "images": IMAGES, **arguments})


@pytest.mark.parametrize(
    "bad", [{"classes": ("a", "caf\udce9", "b")}, {"classes": ("a", 1, "b")}, {"origin": "\udce9"}]
)
def test_names_that_cannot_be_stored_are_refused_before_anything_is_computed(bad: dict[str, Any]) -> None:
    with pytest.raises(mosaic.DataError, match=r"1|udce9") as caught:
        DataSet("rooms", IMAGES, LABELS, **bad)
    assert str(caught.value).isascii()


def test_notes_are_kept_and_identify_nothing() -> None:
    dataset = DataSet("rooms", IMAGES, LABELS, notes=("two images were left out",))
    assert dataset.select(torch.tensor([0])).to("cpu").notes == dataset.notes
    assert dataset.fingerprint() == DataSet("rooms", IMAGES, LABELS).fingerprint()


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.uint8])
def test_labels_are_integers_of_any_type(dtype: torch.dtype) -> None:
    labels = mosaic.DataSet("d", torch.zeros(3, 1, 2, 2), torch.tensor([2, 0, 1], dtype=dtype)).labels
    assert labels is not None
    assert (labels.dtype, labels.tolist()) == (torch.int64, [2, 0, 1])


def test_labels_may_be_a_column_of_a_table() -> None:
    images, column = torch.zeros(4, 1, 2, 2), xr.DataArray([0, 1, 0, 1], dims="row", name="label")
    for labels in (column, column.to_series(), column.to_series().astype("Int64")):
        assert mosaic.DataSet("a", images, labels).labels.tolist() == [0, 1, 0, 1]
    for odd in (column.to_series().astype(str), column.to_series() + 0.5):
        with pytest.raises(mosaic.DataError, match="labels"):
            mosaic.DataSet("a", images, odd)


def test_labels_without_names_are_not_beyond_all_measure() -> None:
    with pytest.raises(mosaic.DataError, match=str(2**40)):
        mosaic.DataSet("d", torch.zeros(2, 1, 8, 8), torch.tensor([0, 2**40]))


def test_it_shows_its_name_and_shape_in_a_line() -> None:
    assert repr(DataSet("rooms", IMAGES, LABELS)) == "DataSet('rooms', 6 images of 2 x 3 x 4, 3 classes)"
    assert repr(DataSet("rooms", IMAGES)) == "DataSet('rooms', 6 images of 2 x 3 x 4)"


def test_images_that_have_their_channels_last_are_noted() -> None:
    last = torch.zeros(2, 8, 8, 3)
    assert "permute" in "".join(DataSet("last", last).notes)
    assert DataSet("first", last.permute(0, 3, 1, 2)).notes == ()
    assert DataSet("last", last).select(torch.tensor([0])).notes == DataSet("last", last).notes


def test_a_notebook_shows_what_it_is_escaped() -> None:
    shown = DataSet(
        "<rooms>", IMAGES, LABELS, ("<a>", "b", "unused"), names=[f"<{n}>" for n in "abcdef"], notes=("<n>",)
    )._repr_html_()
    for text in ("&lt;rooms&gt;", "6 of 2 x 3 x 4", "&lt;a&gt; (2), b (1), unused (3)", "... (6)", "&lt;n&gt;", "png"):
        assert text in shown
    assert "<a>" not in shown
    assert "classes" not in DataSet("rooms", IMAGES)._repr_html_()
