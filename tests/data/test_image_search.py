"""Which files of a folder are its images, and what is said of the others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import mosaic
from mosaic_data.image_search import ImageSearch, find_images


def tree(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def images_of(root: Path) -> tuple[dict[str, list[str]], str]:
    """Names below `root` of the images of each class, and what is said."""
    search = ImageSearch(root)
    found = find_images(search)
    names = {name: [file.relative_to(root).as_posix() for file in files] for name, files in found.items()}
    return names, " ".join(search.notes())


def test_images_are_sorted_by_class(tmp_path: Path) -> None:
    tree(tmp_path, "b/2.PNG", "b/10.png", "a/deep/er/1.jpg", "a/0.webp")
    assert images_of(tmp_path) == ({"a": ["a/0.webp", "a/deep/er/1.jpg"], "b": ["b/10.png", "b/2.PNG"]}, "")


HIDDEN = ("._1.png", ".ipynb_checkpoints/1.png", ".thumbnails/1.png", "@eaDir/1.png", "__MACOSX/1.png")


@pytest.mark.parametrize("place", ["", "a/", "a/deep/"])
def test_what_is_hidden_at_any_depth_is_no_image_and_is_told(tmp_path: Path, place: str) -> None:
    tree(tmp_path, "a/1.png", *(place + name for name in HIDDEN))
    names, told = images_of(tmp_path)
    assert names == {"a": ["a/1.png"]}
    assert f"hidden or thumbnails: {len(HIDDEN)} " in told


def test_a_hidden_folder_may_be_the_root(tmp_path: Path) -> None:
    assert images_of(tree(tmp_path / ".data", "1.png")) == ({"": ["1.png"]}, "")


def test_files_of_other_endings_are_counted(tmp_path: Path) -> None:
    tree(tmp_path, "labels.csv", "a/1.png", "a/2.jfif", "a/3.JFIF", "a/b/4.gif", "a/5", "a/Thumbs.db", ".DS_Store")
    told = images_of(tmp_path)[1]
    for part in ("other endings: 5 ", "2 .jfif", ".gif", ".csv", "no ending"):
        assert part in told
    assert "humbs" not in told
    assert "DS" not in told


def test_a_class_without_images_says_what_it_has(tmp_path: Path) -> None:
    tree(tmp_path, "a/1.png", "b/1.gif")
    with pytest.raises(mosaic.DataError, match=r"b'.*\.gif"):
        images_of(tmp_path)


@pytest.mark.parametrize(
    "links",
    [
        {"a/own": "a"},
        {"a/one": "a", "a/two": "a"},  # two links doubled the way down at every level
        {"a/up": "."},
        {"a/x/y": "a", "b/x/y": "a/x"},
        {"a/other": "b"},
        {"a/deep-of-b": "b/x"},
    ],
)
def test_each_folder_is_visited_once_and_its_images_are_of_the_class_they_lie_in(
    tmp_path: Path, links: dict[str, str]
) -> None:
    tree(tmp_path, "a/1.png", "a/x/2.png", "b/3.png", "b/x/4.png")
    for link, target in links.items():
        (tmp_path / link).symlink_to(tmp_path / target, target_is_directory=True)
    names, told = images_of(tmp_path)
    assert names == {"a": ["a/1.png", "a/x/2.png"], "b": ["b/3.png", "b/x/4.png"]}
    assert f"folders that are read already: {len(links)} " in told


def test_links_out_of_the_folder_are_followed(tmp_path: Path) -> None:
    tree(tmp_path, "elsewhere/1.png", "shelf/2.png", "root/a/0.png")
    (tmp_path / "root/b").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "root/a/more").symlink_to(tmp_path / "shelf", target_is_directory=True)
    (tmp_path / "root/a/3.png").symlink_to(tmp_path / "shelf/2.png")
    assert images_of(tmp_path / "root")[0] == {"a": ["a/0.png", "a/3.png", "a/more/2.png"], "b": ["b/1.png"]}


@pytest.mark.parametrize("target", ["a", "."])
def test_a_class_that_is_a_link_to_another_is_refused(tmp_path: Path, target: str) -> None:
    tree(tmp_path, "a/1.png")
    (tmp_path / "b").symlink_to(tmp_path / target, target_is_directory=True)
    with pytest.raises(mosaic.DataError, match=r"b'.*link"):
        images_of(tmp_path)


def test_links_that_lead_nowhere_are_told(tmp_path: Path) -> None:
    tree(tmp_path, "a/1.png")
    (tmp_path / "a/2.png").symlink_to(tmp_path / "lost.png")
    (tmp_path / "a/3.png").symlink_to(tmp_path / "a/4.png")
    (tmp_path / "a/4.png").symlink_to(tmp_path / "a/3.png")
    names, told = images_of(tmp_path)
    assert names == {"a": ["a/1.png"]}
    assert "links to nothing: 3 " in told


@pytest.mark.parametrize("closed", ["", "a", "a/deep"])
def test_a_folder_that_cannot_be_listed_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed: str
) -> None:
    tree(tmp_path, "a/1.png", "a/deep/2.png")
    listed = Path.iterdir

    def iterdir(path: Path) -> object:
        if path == tmp_path / closed:
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)  # the superuser may list every folder
    with pytest.raises(mosaic.DataError, match="Permission denied") as caught:
        images_of(tmp_path)
    assert f"'{tmp_path / closed}'" in str(caught.value)


def test_a_class_whose_name_is_not_utf8_is_refused(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    try:
        os.mkdir(folder)  # noqa: PTH102
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")
    with pytest.raises(mosaic.DataError, match=r"caf\\xe9"):
        images_of(tmp_path)
