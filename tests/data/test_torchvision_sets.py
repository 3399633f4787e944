"""MNIST, FashionMNIST, CIFAR-10 and CelebA, from small files; tests/system/test_real_data.py reads the real MNIST."""

from __future__ import annotations

import hashlib
import pickle
import urllib.error
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision_files import IMAGES, LABELS, small_celeba, small_cifar, small_mnist, write_idx

import mosaic
import mosaic.testing
from mosaic_data import torchvision_sets
from mosaic_data.resize import resize
from mosaic_data.torchvision_sets import CelebA, Cifar10, FashionMnist, Mnist, TorchvisionSource


def load(source: type[TorchvisionSource], root: Path, download: bool = False, **options: Any) -> mosaic.DataSet:
    return source(source.Options(**options), mosaic.DataAccess(root, download)).load()


def refuse_network(*_: Any, **__: Any) -> None:
    raise urllib.error.URLError("no route to host")


# MNIST and FashionMNIST


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
def test_mnist_reads_the_idx_files_of_the_training_split(tmp_path: Path, packed: bool) -> None:
    images, labels = small_mnist(tmp_path, packed=packed)
    dataset = load(Mnist, tmp_path, size=28)
    assert dataset.labels is not None
    assert dataset.labels.tolist() == labels.tolist()
    np.testing.assert_allclose(dataset.images[:, 0].numpy(), images / 127.5 - 1, atol=1e-6)
    assert dataset.classes == tuple("0123456789")
    assert dataset.scales == "paper/mnist-resnet-zeros"
    assert load(Mnist, tmp_path).images.shape == (40, 1, 32, 32)


def test_limit_before_resizing_gives_what_limit_after_it_does(tmp_path: Path) -> None:
    small_mnist(tmp_path)
    whole, part = load(Mnist, tmp_path), load(Mnist, tmp_path, limit=20, limit_seed=5)
    expected = whole.select(mosaic.balanced_subset(40, 20, 5, whole.labels))
    assert part.fingerprint() == expected.fingerprint()
    assert part.labels is not None
    assert part.labels.bincount().tolist() == [2] * 10


def test_the_test_split_is_read_from_its_own_files(tmp_path: Path) -> None:
    images, labels = small_mnist(tmp_path)
    with pytest.raises(mosaic.DataError, match=Mnist.test_files[0]):
        load(Mnist, tmp_path, split="test")
    for name, values in zip(Mnist.test_files, (images[:12, ::-1], labels[:12]), strict=True):
        write_idx(tmp_path / Mnist.folder / name, values)
    held = load(Mnist, tmp_path, size=28, split="test")
    np.testing.assert_allclose(held.images[:, 0].numpy(), images[:12, ::-1] / 127.5 - 1, atol=1e-6)
    assert held.labels is not None
    assert held.labels.tolist() == labels[:12].tolist()
    assert "test split" in held.origin
    assert "training split" in load(Mnist, tmp_path).origin
    assert len(load(Mnist, tmp_path, split="test", skip=2, limit=5)) == 5


def test_the_usual_split_is_not_recorded() -> None:
    """What was stored before there was a choice is still of the same data."""
    assert "split" not in Mnist.Options().model_dump(mode="json")
    assert Mnist.Options(split="test", skip=1).model_dump(mode="json").keys() >= {"split", "skip", "size", "limit"}


def test_fashion_mnist_has_torchvisions_class_names(tmp_path: Path) -> None:
    small_mnist(tmp_path, FashionMnist.folder)
    dataset = load(FashionMnist, tmp_path)
    assert dataset.classes[0] == "T-shirt/top"
    assert dataset.classes[9] == "Ankle boot"
    assert dataset.scales == "paper/fashion-resnet-zeros"


@pytest.mark.parametrize("source", [Mnist, FashionMnist, Cifar10, CelebA])
def test_missing_files_are_listed_with_folder_and_remedies(tmp_path: Path, source: type[TorchvisionSource]) -> None:
    reason = source(access=mosaic.DataAccess(tmp_path)).available()
    for part in (str(tmp_path / source.folder), ", ".join(source.files)):
        assert part in (reason or "")
    with pytest.raises(mosaic.DataError) as caught:
        load(source, tmp_path)
    for part in (str(tmp_path / source.folder), *source.files, "`data_dir`", "MOSAIC_DATA", "`download`"):
        assert part in str(caught.value)


def test_available_when_files_are_there_or_may_be_downloaded(tmp_path: Path) -> None:
    assert Mnist(access=mosaic.DataAccess(tmp_path, download=True)).available() is None
    small_mnist(tmp_path)
    assert Mnist(access=mosaic.DataAccess(tmp_path)).available() is None
    (tmp_path / Mnist.folder / LABELS).unlink()
    reason = Mnist(access=mosaic.DataAccess(tmp_path)).available() or ""
    assert (str(tmp_path / Mnist.folder) in reason, LABELS in reason, IMAGES in reason) == (True, True, False)


def test_without_a_folder_the_users_cache_is_looked_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / name))
    assert Mnist().root == tmp_path / "mosaic-diffusion" / "data"


def test_images_and_labels_must_be_as_many(tmp_path: Path) -> None:
    small_mnist(tmp_path)
    write_idx(tmp_path / Mnist.folder / LABELS, np.zeros(39, np.uint8))
    with pytest.raises(mosaic.DataError, match=r"\b40\b.*\b39\b"):
        load(Mnist, tmp_path)


def test_damaged_file_is_named(tmp_path: Path) -> None:
    small_mnist(tmp_path)
    path = tmp_path / Mnist.folder / IMAGES
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(mosaic.DataError, match=rf"{IMAGES}'.*31375.*31376"):
        load(Mnist, tmp_path)


def test_labels_out_of_the_classes_are_refused(tmp_path: Path) -> None:
    small_mnist(tmp_path)
    write_idx(tmp_path / Mnist.folder / LABELS, np.full(40, 10, np.uint8))
    with pytest.raises(mosaic.DataError, match="labels"):
        load(Mnist, tmp_path)


def test_no_images_at_all_are_refused(tmp_path: Path) -> None:
    write_idx(tmp_path / Mnist.folder / IMAGES, np.zeros((0, 28, 28), np.uint8))
    write_idx(tmp_path / Mnist.folder / LABELS, np.zeros(0, np.uint8))
    with pytest.raises(mosaic.DataError, match="images"):
        load(Mnist, tmp_path)


def test_failed_download_is_a_single_line_and_leaves_stdout_clean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("urllib.request.urlopen", refuse_network)
    for source in (Mnist, FashionMnist, Cifar10, CelebA):
        with pytest.raises(mosaic.DataError, match=rf"'{source.name}'.*MOSAIC_DATA") as caught:
            load(source, tmp_path, download=True)
        assert "\n" not in str(caught.value)
    assert capsys.readouterr().out == ""


# CIFAR-10


class Bomb:
    """Touches a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_cifar10_reads_the_training_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, labels = small_cifar(tmp_path, monkeypatch)
    dataset = load(Cifar10, tmp_path)
    assert dataset.labels is not None
    assert dataset.labels.tolist() == labels
    np.testing.assert_allclose(dataset.images.numpy(), pixels / 127.5 - 1, atol=1e-6)
    assert dataset.classes == ("airplane", *"bcdefghij")
    assert dataset.scales == "paper/cifar10-resnet-zeros"
    limited = load(Cifar10, tmp_path, limit=20)
    assert limited.labels is not None
    assert limited.labels.bincount().tolist() == [2] * 10


def test_cifar10_reads_the_test_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_cifar(tmp_path, monkeypatch)
    pixels = np.random.default_rng(1).integers(0, 256, (4, 3072), np.uint8)
    path = tmp_path / Cifar10.folder / "test_batch"
    path.write_bytes(pickle.dumps({"data": pixels, "labels": [1, 0, 3, 2]}))
    cifar = mosaic.import_torchvision().datasets.CIFAR10
    monkeypatch.setattr(cifar, "test_list", [["test_batch", hashlib.md5(path.read_bytes()).hexdigest()]])
    held = load(Cifar10, tmp_path, split="test")
    np.testing.assert_allclose(held.images.numpy().reshape(4, -1), pixels / 127.5 - 1, atol=1e-6)
    assert held.labels is not None
    assert held.labels.tolist() == [1, 0, 3, 2]


@pytest.mark.parametrize("name", ["data_batch_1", "data_batch_5", "test_batch", "batches.meta"])
def test_cifar10_never_unpickles_a_tampered_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    small_cifar(tmp_path, monkeypatch)
    mark = tmp_path / "unpickled"
    (tmp_path / Cifar10.folder / name).write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(mosaic.DataError, match=name):
        load(Cifar10, tmp_path)
    assert not mark.exists()
    pickle.loads((tmp_path / Cifar10.folder / name).read_bytes())
    assert mark.exists()  # the bomb was a live one


# CelebA


def test_celeba_squeezes_the_whole_training_photographs(tmp_path: Path) -> None:
    photographs = small_celeba(tmp_path)
    dataset = load(CelebA, tmp_path)
    assert dataset.labels is None
    assert dataset.classes == ()
    assert dataset.scales == "paper/celeba-resnet-zeros"
    expected = resize(torch.from_numpy(photographs).permute(0, 3, 1, 2), 32)
    torch.testing.assert_close(dataset.images, expected, rtol=0, atol=1e-6)
    assert len(load(CelebA, tmp_path, split="test")) == 1  # the fifth photograph


def test_celeba_decodes_only_what_limit_asks_for(tmp_path: Path) -> None:
    small_celeba(tmp_path)
    whole = load(CelebA, tmp_path)
    chosen = mosaic.balanced_subset(4, 2, 0)
    for index in {0, 1, 2, 3} - set(chosen.tolist()):
        name = ["000001.jpg", "000002.jpg", "000004.jpg", "000006.jpg"][index]
        (tmp_path / CelebA.folder / "img_align_celeba" / name).unlink()
    assert torch.equal(load(CelebA, tmp_path, limit=2).images, whole.images[chosen])
    with pytest.raises(mosaic.DataError, match=r"00000\d\.jpg'"):
        load(CelebA, tmp_path)


def test_celeba_list_without_training_images_is_refused(tmp_path: Path) -> None:
    small_celeba(tmp_path)
    (tmp_path / CelebA.folder / "list_eval_partition.txt").write_text("<html>quota exceeded</html>\n")
    with pytest.raises(mosaic.DataError, match=r"list_eval_partition\.txt'"):
        load(CelebA, tmp_path)


# The plugins


@pytest.mark.parametrize("source", [Mnist, FashionMnist, Cifar10, CelebA])
def test_they_conform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: type[TorchvisionSource]) -> None:
    for folder in (Mnist.folder, FashionMnist.folder):
        small_mnist(tmp_path, folder)
    small_cifar(tmp_path, monkeypatch)
    small_celeba(tmp_path)
    actual = mosaic.testing.check_dataset(source, access=mosaic.DataAccess(tmp_path))
    assert actual.pop("its_images_obey_its_rule") == "does not apply"
    assert set(actual.values()) == {"passed"}


def test_all_are_registered_under_their_names() -> None:
    registry = mosaic.registry()
    for name, source in {
        "mnist": Mnist,
        "fashion_mnist": FashionMnist,
        "cifar10": Cifar10,
        "celeba": CelebA,
    }.items():
        assert registry.get("dataset", name) is source
    assert registry.get("dataset", "fashion_mnist") is FashionMnist


@pytest.mark.parametrize("source", [Mnist, Cifar10, CelebA])
def test_they_are_read_within_the_memory_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: type[TorchvisionSource]
) -> None:
    small_mnist(tmp_path, Mnist.folder)
    small_cifar(tmp_path, monkeypatch)
    small_celeba(tmp_path)
    with pytest.raises(mosaic.DataError, match=rf"'{source.name}'.*1024 x 1024.*\b1 MiB"):
        source(source.Options(size=1024), mosaic.DataAccess(tmp_path, memory=2**20)).load()


@pytest.mark.parametrize("source", [Mnist, FashionMnist, Cifar10, CelebA])
@pytest.mark.parametrize("options", [{}, {"size": 7, "limit": 3}], ids=str)
def test_in_pieces_they_are_what_they_are_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: type[TorchvisionSource], options: dict[str, int]
) -> None:
    for folder in (Mnist.folder, FashionMnist.folder):
        small_mnist(tmp_path, folder)
    small_cifar(tmp_path, monkeypatch)
    small_celeba(tmp_path)
    monkeypatch.setattr(torchvision_sets, "HELD", 2 * 32 * 32)
    streamed, held = (
        source(source.Options(**options), mosaic.DataAccess(tmp_path, pieces=pieces)).load() for pieces in (True, False)
    )
    assert isinstance(streamed.images, mosaic.ImageSource)
    assert streamed.fingerprint() == held.fingerprint()
    assert "pieces" in streamed.notes[0]
