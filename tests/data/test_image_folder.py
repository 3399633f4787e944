"""The data set `folder`: what it makes of good folders, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import mosaic
import mosaic.testing
from mosaic_data.image_folder import ImageFolder
from mosaic_data.image_search import EXTENSIONS

GREY = np.arange(20, dtype=np.uint8).reshape(4, 5) * 12
RGB = np.stack([GREY, 255 - GREY, GREY // 2], axis=-1)


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def folder(path: Path, **options: Any) -> mosaic.DataSet:
    return ImageFolder(ImageFolder.Options(path=path, **options)).load()


def test_folder_reads_classes_by_name_and_searches_below_them(tmp_path: Path) -> None:
    save(tmp_path / "dog" / "1.png", GREY)
    save(tmp_path / "cat" / "deep" / "er" / "2.PNG", GREY + 1)
    save(tmp_path / "cat" / "9.bmp", GREY + 2)
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    dataset = folder(tmp_path)
    assert dataset.classes == ("cat", "dog")
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [0, 0, 1]
    expected = torch.from_numpy(np.stack([GREY + 2, GREY + 1, GREY])[:, None]).double() / 127.5 - 1
    torch.testing.assert_close(dataset.images.double(), expected, rtol=0, atol=1e-7)


def test_images_are_called_by_their_files(tmp_path: Path) -> None:
    for name in ("b/2.png", "a/1.png", "a/deep/0.png"):
        save(tmp_path / name, GREY)
    assert folder(tmp_path).names == ("a/1.png", "a/deep/0.png", "b/2.png")
    few = folder(tmp_path, limit=2)
    assert few.labels is not None
    assert [name[0] for name in few.names] == ["ab"[label] for label in few.labels.tolist()]


def test_images_that_are_links_to_others_are_told(tmp_path: Path) -> None:
    image = save(tmp_path / "a/1.png", GREY)
    save(tmp_path / "a/2.png", GREY)
    assert folder(tmp_path).notes == ()
    (tmp_path / "a/3.png").symlink_to(image)
    (tmp_path / "a/4.png").hardlink_to(image)
    dataset = folder(tmp_path)
    assert len(dataset) == 4
    assert [note.split()[:3] for note in dataset.notes] == [["2", "of", "4"]]


@pytest.mark.parametrize(
    ("names", "told"), [(range(11), True), (range(10), False), (["00", "01", "10"], False), (["2", "10", "b"], False)]
)
def test_classes_that_are_numbers_out_of_order_are_told(tmp_path: Path, names: Any, told: bool) -> None:
    for name in names:
        save(tmp_path / f"{name}/1.png", GREY)
    assert any("label 2" in note for note in folder(tmp_path).notes) == told


def test_it_conforms(tmp_path: Path) -> None:
    for number in range(6):
        save(tmp_path / "ab"[number % 2] / f"{number}.png", GREY + number)
    actual = mosaic.testing.check_dataset(ImageFolder, options={"path": str(tmp_path)})
    assert actual["limit_takes_a_balanced_subset"] == "passed"


def test_folder_of_images_has_no_labels(tmp_path: Path) -> None:
    save(tmp_path / "b.png", GREY)
    save(tmp_path / "a.png", 255 - GREY)
    dataset = folder(tmp_path)
    assert dataset.labels is None
    assert dataset.classes == ()
    assert dataset.images[0, 0, 0, 0] == 1
    assert dataset.images[1, 0, 0, 0] == -1


def test_folder_is_rgb_as_soon_as_any_image_is(tmp_path: Path) -> None:
    save(tmp_path / "a.png", GREY)
    save(tmp_path / "b.png", RGB)
    images = folder(tmp_path).images
    assert images.shape == (2, 3, 4, 5)
    assert torch.equal(images[0, 0], images[0, 2])
    torch.testing.assert_close(images[1], torch.from_numpy(RGB).permute(2, 0, 1) / 127.5 - 1, rtol=0, atol=1e-6)


def test_folder_limit_is_balanced(tmp_path: Path) -> None:
    for name, count in (("a", 7), ("b", 3)):
        for index in range(count):
            save(tmp_path / name / f"{index}.png", GREY + index)
    dataset = folder(tmp_path, limit=6)
    assert dataset.labels is not None
    assert dataset.labels.bincount().tolist() == [3, 3]


def test_folder_names_two_files_of_different_sizes(tmp_path: Path) -> None:
    save(tmp_path / "a.png", GREY)
    save(tmp_path / "b.png", GREY[:3])
    with pytest.raises(mosaic.DataError, match=r"a\.png'.*5 x 4.*b\.png'.*5 x 3"):
        folder(tmp_path)


def test_folder_without_images_names_it_and_the_extensions(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("nothing here")
    with pytest.raises(mosaic.DataError) as caught:
        folder(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert all(extension in str(caught.value) for extension in EXTENSIONS)


def test_folder_with_an_empty_class_names_it(tmp_path: Path) -> None:
    save(tmp_path / "full" / "a.png", GREY)
    (tmp_path / "void").mkdir()
    with pytest.raises(mosaic.DataError, match="void'"):
        folder(tmp_path)


def test_folder_refuses_images_beside_class_folders(tmp_path: Path) -> None:
    save(tmp_path / "a" / "a.png", GREY)
    save(tmp_path / "loose.png", GREY)
    with pytest.raises(mosaic.DataError, match=r"loose\.png"):
        folder(tmp_path)


def test_folder_names_an_image_that_cannot_be_decoded(tmp_path: Path) -> None:
    save(tmp_path / "a.png", GREY)
    path = save(tmp_path / "bad.png", GREY)
    path.write_bytes(path.read_bytes()[:45])
    with pytest.raises(mosaic.DataError, match=r"bad\.png'"):
        folder(tmp_path)


def test_missing_folder_is_known_before_reading_and_refused_on_it(tmp_path: Path) -> None:
    lost = tmp_path / "lost"
    assert f"'{lost}'" in (ImageFolder(ImageFolder.Options(path=lost)).available() or "")
    assert ImageFolder(ImageFolder.Options(path=tmp_path)).available() is None
    with pytest.raises(mosaic.DataError, match=r"lost'.*dataset\.path"):
        folder(lost)


def test_folder_reads_sixteen_bits_beside_eight(tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (4, 5), np.uint16)
    save(tmp_path / "a.png", deep)
    save(tmp_path / "b.png", GREY)
    images = folder(tmp_path).images[:, 0].double()
    torch.testing.assert_close(images[0], torch.from_numpy(deep / 32767.5 - 1), rtol=0, atol=1e-7)
    torch.testing.assert_close(images[1], torch.from_numpy(GREY / 127.5 - 1), rtol=0, atol=1e-7)


def test_folder_compares_the_sizes_that_are_seen(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(GREY).save(tmp_path / "a.png", exif=exif)
    save(tmp_path / "b.png", GREY[::-1].T)
    images = folder(tmp_path).images
    assert images.shape == (2, 1, 5, 4)
    assert torch.equal(images[0], images[1])


def test_folder_decodes_only_what_limit_chooses_and_gives_it_the_channels_of_the_whole(tmp_path: Path) -> None:
    for index in range(6):
        save(tmp_path / f"{index}.png", GREY)
    save(tmp_path / "6.png", RGB)
    (chosen,) = mosaic.balanced_subset(7, 1, 0).tolist()
    other = tmp_path / f"{(chosen + 1) % 6}.png"
    other.write_bytes(other.read_bytes()[:45])  # its header is whole
    assert folder(tmp_path, limit=1).images.shape == (1, 3, 4, 5)
    assert folder(tmp_path, limit=1, skip=1).names == (f"{mosaic.balanced_subset(7, 1, 0, None, 1).item()}.png",)
    with pytest.raises(mosaic.DataError, match=other.name):
        folder(tmp_path)


def test_folder_is_read_within_the_memory_allowed(tmp_path: Path) -> None:
    for index in range(3):
        save(tmp_path / f"{index}.png", np.full((300, 300), index, np.uint8))
    with pytest.raises(mosaic.DataError, match=r"images of 1 x 300 x 300.*\b1 MiB"):  # one image takes more
        ImageFolder(ImageFolder.Options(path=tmp_path), mosaic.DataAccess(memory=2**17)).load()
    for memory, is_read in ((2**20, True), (2**22, False)):
        source = ImageFolder(ImageFolder.Options(path=tmp_path), mosaic.DataAccess(memory=memory))
        assert isinstance(source.load().images, mosaic.ImageSource) == is_read


def test_folder_notes_frames_colours_and_darkness(tmp_path: Path) -> None:
    pages = [Image.fromarray(np.full((4, 5, 3), value, np.uint8)) for value in (0, 1)]
    pages[1].save(tmp_path / "a.tiff", save_all=True, append_images=pages)
    (frames, dark) = folder(tmp_path).notes
    assert "a.tiff' has 3" in frames
    assert "`dataset.range=0,1`" in dark
    Image.fromarray(RGB).convert("CMYK").save(tmp_path / "b.tiff")
    assert ["CMYK" in note for note in folder(tmp_path).notes] == [False, True]
    save(tmp_path / "other" / "a.png", RGB)
    assert folder(tmp_path / "other").notes == ()


def test_images_of_different_sizes_are_resized(tmp_path: Path) -> None:
    """Against PIL's own antialiased triangle filter, in floating point; white borders show what is cropped."""
    generator = np.random.default_rng(0)
    wide, tall = (generator.integers(0, 256, shape, np.uint8) for shape in ((20, 30), (24, 12)))
    save(tmp_path / "1.png", wide)
    save(tmp_path / "2.png", tall)
    for how, scaled in {"fit": [(10, 10), (10, 10)], "crop": [(15, 10), (10, 20)], "pad": [(10, 7), (5, 10)]}.items():
        dataset = folder(tmp_path, size=10, resize=how)
        assert dataset.shape == (1, 10, 10)
        assert dataset.notes == ()
        for image, pixels, (width, height) in zip(dataset.images[:, 0], (wide, tall), scaled, strict=True):
            large = Image.fromarray(pixels.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
            expected = Image.new("F", (10, 10))  # black
            expected.paste(large, ((10 - width) // 2, (10 - height) // 2))
            np.testing.assert_allclose(image, np.asarray(expected) / 127.5 - 1, atol=2e-6)


@pytest.mark.parametrize("size", [5, "4,5", [4, 5], (4, 5), np.int64(5)])
def test_a_size_is_one_number_or_two(tmp_path: Path, size: Any) -> None:
    save(tmp_path / "1.png", RGB)
    options = ImageFolder.Options.parse({"path": str(tmp_path), "size": size}, "dataset.folder")
    sides = (5, 5) if size == 5 else (4, 5)
    assert options.size == sides
    assert ImageFolder(options).load().shape == (3, *sides)
    assert ImageFolder.Options.parse(options.model_dump(mode="json"), "dataset.folder") == options


def test_images_of_that_size_already_are_what_they_were(tmp_path: Path) -> None:
    save(tmp_path / "1.png", GREY)
    save(tmp_path / "2.png", (GREY.astype(np.uint16) << 8) + 7)
    for how in (None, "fit", "crop", "pad"):
        assert torch.equal(folder(tmp_path, size=(4, 5), resize=how).images, folder(tmp_path).images)


def test_black_borders_are_exactly_black_at_16_bits(tmp_path: Path) -> None:
    save(tmp_path / "1.png", np.full((6, 18), 65535, np.uint16))
    image = folder(tmp_path, size=9, resize="pad").images[0, 0]
    assert (image[:3] == -1).all()
    assert (image[6:] == -1).all()
    torch.testing.assert_close(image[3:6], torch.ones(3, 9))


def test_images_that_are_stretched_unasked_are_noted(tmp_path: Path) -> None:
    save(tmp_path / "1.png", GREY)
    save(tmp_path / "2.png", GREY[:, :4])
    (note,) = folder(tmp_path, size=8).notes
    assert note.startswith("1 of 2 ")
    assert folder(tmp_path, size=8, resize="fit").notes == ()


@pytest.mark.parametrize(
    "options", [{"resize": "crop"}, {"size": 0}, {"size": [4, 5, 6]}, {"size": 8, "resize": "squeeze"}, {"size": "x"}]
)
def test_sizes_that_make_no_sense_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(mosaic.UsageError, match=r"dataset\.folder: .*(size|resize)"):
        ImageFolder.Options.parse({"path": str(tmp_path), **options}, "dataset.folder")


def test_a_long_image_is_not_scaled_beyond_memory(tmp_path: Path) -> None:
    save(tmp_path / "1.png", np.zeros((2, 5000), np.uint8))
    options = ImageFolder.Options(path=tmp_path, size=(512, 512), resize="crop")
    few = mosaic.DataAccess(memory=2**24)
    with pytest.raises(mosaic.DataError, match="16 MiB"):
        ImageFolder(options, few).load()
    assert ImageFolder(ImageFolder.Options(path=tmp_path, size=(512, 512)), few).load().shape == (1, 512, 512)
