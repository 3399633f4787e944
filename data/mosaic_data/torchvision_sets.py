"""MNIST, FashionMNIST, CIFAR-10 and CelebA, in the folders that torchvision keeps them in.

torchvision downloads them and checks what it unpickles; plain formats are read here, which needs the files of
the split that is asked for only.
"""

from __future__ import annotations

import math
import sys
import threading
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import platformdirs
import torch
from pydantic import Field
from torch import Tensor

import mosaic
from mosaic_data.idx import IdxFile
from mosaic_data.image_file import decode
from mosaic_data.references import CELEBA, CIFAR10, FASHION, MNIST
from mosaic_data.resize import resize
from mosaic_data.text import readable

__all__ = ["CelebA", "Cifar10", "FashionMnist", "Mnist", "TorchvisionSource"]


_downloading = threading.Lock()  # stdout is that of all threads

HELD = 2**20  # values of resized images that are held at a time on their way into the cache folder

CIFAR_IMAGES = {"train": 50_000, "test": 10_000}


class TorchvisionSource(mosaic.DataSource):
    """A split of a data set that torchvision downloads; by default its training images.

    Attributes
    ----------
    remote : str
        Name of its class in `torchvision.datasets`.
    folder : str
        Folder under the data folder.
    files : tuple of str
        What that folder must hold.
    test_files : tuple of str
        What it must hold for the test split; empty for the same.
    preset : str
        Name of the preset of locality scales that suits it.
    """

    remote: ClassVar[str]
    folder: ClassVar[str]
    files: ClassVar[tuple[str, ...]]
    test_files: ClassVar[tuple[str, ...]] = ()
    preset: ClassVar[str]
    reads_subset = True

    class Options(mosaic.DataSetOptions):
        """Size to which images are resized, and the split."""

        later = (*mosaic.DataSetOptions.later, "split")

        size: int = Field(32, ge=1, le=1024, description="Height and width that images are resized to, in pixels.")
        split: Literal["train", "test"] = Field("train", description="Which of the published splits.")

    @property
    def root(self) -> Path:
        """The data folder: the one given, or the user's cache."""
        return self.access.root or Path(platformdirs.user_cache_dir("mosaic-diffusion"), "data")

    @property
    def needed(self) -> tuple[str, ...]:
        """Files of the split."""
        return self.test_files if self.options.split == "test" and self.test_files else self.files

    def missing(self) -> list[str]:
        """List the files that are not there, neither plain nor as `.gz`."""
        paths = {name: self.root / self.folder / name for name in self.needed}
        return [name for name, path in paths.items() if not (path.exists() or Path(f"{path}.gz").exists())]

    def available(self) -> str | None:
        """Name the missing files, unless they may be downloaded."""
        missing = self.missing()
        return f"{self.root / self.folder} lacks {', '.join(missing)}" if missing and not self.access.download else None

    def read(self) -> mosaic.DataSet:
        """Read the split, or the part of it that `limit` and `skip` ask for.

        The part is taken here, not after reading, so that no more images than needed are decoded and resized.

        Raises
        ------
        DataError
            If files are missing and may not be or cannot be downloaded, or are damaged.
        """
        missing = self.missing()
        if missing and not self.access.download:
            raise mosaic.DataError(
                f"Data set '{self.name}': folder '{self.root / self.folder}' lacks {', '.join(missing)}. "
                f"Point `data_dir` or MOSAIC_DATA to the folder that holds {self.folder}, or add `download`."
            )
        if missing:
            self._download()
        return self.read_split()

    @abstractmethod
    def read_split(self) -> mosaic.DataSet:
        """Read the split from files that are all there."""

    def check_images(self, channels: int, more: int) -> None:
        """Refuse sets of which not even one image can be read; `more` is what reading takes beside images."""
        self.check_memory(1, (channels, self.options.size, self.options.size), more)

    def images(
        self, chosen: Tensor, channels: int, more: int, files: Iterable[Path], read: Callable[[Tensor], Tensor]
    ) -> tuple[mosaic.Images, tuple[str, ...]]:
        """Give the chosen images, in memory or, resized once, from the cache folder; and notes.

        `read` gives those at some places (n, channels, size, size), resized. `more` is what it takes beside. What is
        kept is of these `files`, as they are.
        """
        shape = (channels, self.options.size, self.options.size)
        if self.fits(len(chosen), shape, more):
            return read(chosen), ()

        def decode() -> mosaic.Decoded:
            blocks = (read(places).numpy() for places in chosen.split(max(1, HELD // math.prod(shape))))
            return mosaic.Decoded((len(chosen), *shape), np.dtype(np.float32), blocks)

        states = sorted(map(mosaic.file_state, files))
        options = self.options.model_dump(mode="json")
        key = {"what": f"{self.name} 1", "options": options, "files": sha256(repr(states).encode()).hexdigest()}
        images, _ = mosaic.cached_images(key, decode, (-1.0, 1.0))
        return images, (self.pieces_note(len(chosen), shape),)

    def dataset(
        self, images: tuple[mosaic.Images, tuple[str, ...]], labels: Tensor | None, classes: tuple[str, ...]
    ) -> mosaic.DataSet:
        """Make the data set of what `images` gave."""
        return mosaic.DataSet(
            notes=images[1],
            name=self.name,
            images=images[0],
            labels=labels,
            classes=classes,
            scales=self.preset,
            origin=f"{self.remote} {self.split_name} split in {readable(self.root / self.folder)}",
        )

    @property
    def split_name(self) -> str:
        """What the split is called."""
        return "test" if self.options.split == "test" else "training"

    def _download(self) -> None:
        remote = getattr(mosaic.import_torchvision().datasets, self.remote)
        try:
            with _downloading, redirect_stdout(sys.stderr):  # stdout is for results
                remote(self.root, download=True)
        except Exception as error:  # urllib, http, gdown and the archives each raise kinds of their own
            reason = " ".join(str(error).split()).rstrip(".:")
            raise mosaic.DataError(
                f"Data set '{self.name}' could not be downloaded to '{self.root}' ({reason}); "
                "look to the network, or fetch the files elsewhere and point `data_dir` or MOSAIC_DATA there."
            ) from error


class Mnist(TorchvisionSource):
    """MNIST: 60,000 handwritten digits, 28 x 28 grey, resized to 32 x 32 as in the paper.

    References: LeCun et al. 1998; Kamb & Ganguli 2025, app. C.
    """

    name = "mnist"
    references = (MNIST,)
    remote = "MNIST"
    folder = "MNIST/raw"
    files = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
    test_files = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
    preset = "paper/mnist-resnet-zeros"

    def read_split(self) -> mosaic.DataSet:
        """Read images (N, 1, size, size), range [-1, 1], and labels.

        Raises
        ------
        DataError
            If a file is damaged, or there are not as many labels as images.
        """
        directory, (images, labels_of) = self.root / self.folder, self.needed
        pixel_file, label_file = IdxFile(directory / images, 3), IdxFile(directory / labels_of, 1)
        (count, height, width), (labelled,) = pixel_file.shape, label_file.shape
        if count != labelled:
            raise mosaic.DataError(
                f"'{directory}' holds {count} images ({images}) but {labelled} labels "
                f"({labels_of}); replace both files by those of one release."
            )
        more = 64 * count
        self.check_images(1, more)
        labels = label_file.read().long()
        chosen = self.choose(count, labels)

        def read(places: Tensor) -> Tensor:
            return resize(pixel_file.read(places.numpy())[:, None], self.options.size)

        whole = more + self.kept(count) * height * width
        given = self.images(chosen, 1, whole, (pixel_file.file, label_file.file), read)
        return self.dataset(given, labels[chosen], self.class_names())

    def class_names(self) -> tuple[str, ...]:
        """Name the classes, in the order of the labels."""
        return tuple("0123456789")


class FashionMnist(Mnist):
    """FashionMNIST: 60,000 articles of clothing, 28 x 28 grey, resized to 32 x 32 as in the paper.

    References: Xiao et al. 2017, arXiv:1708.07747.
    """

    name = "fashion_mnist"
    references = (FASHION,)
    remote = "FashionMNIST"
    folder = "FashionMNIST/raw"
    preset = "paper/fashion-resnet-zeros"

    def class_names(self) -> tuple[str, ...]:
        """Name the classes, in the order of the labels."""
        return tuple(mosaic.import_torchvision().datasets.FashionMNIST.classes)


class Cifar10(TorchvisionSource):
    """CIFAR-10: 50,000 photographs of ten kinds of things, 32 x 32 RGB.

    References: Krizhevsky 2009.
    """

    name = "cifar10"
    references = (CIFAR10,)
    remote = "CIFAR10"
    folder = "cifar-10-batches-py"
    # torchvision also checks the batches of the other split.
    files = (*(f"data_batch_{index}" for index in range(1, 6)), "test_batch", "batches.meta")
    preset = "paper/cifar10-resnet-zeros"

    def read_split(self) -> mosaic.DataSet:
        """Read images (N, 3, size, size), range [-1, 1], and labels.

        Raises
        ------
        DataError
            If a file differs from the published one. The files are pickles, which run code when read, so
            torchvision compares the MD5 of each with the published one before it reads any.
        """
        datasets: Any = mosaic.import_torchvision().datasets
        # torchvision reads all of it, and holds it twice when it joins the files.
        count, is_training = CIFAR_IMAGES[self.options.split], self.options.split == "train"
        self.check_images(3, 2 * count * 3 * 32 * 32)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # newer numpys warn about these pickles of an old one
                split = datasets.CIFAR10(self.root, train=is_training, download=False)
        except RuntimeError as error:
            raise mosaic.DataError(
                f"Data set '{self.name}': in '{self.root / self.folder}', "
                f"{self._altered(datasets)} differs from the published file (MD5), so it was not read; "
                "delete it, then run again with `download`."
            ) from error
        labels = torch.tensor(split.targets, dtype=torch.int64, device="cpu")
        chosen = self.choose(len(labels), labels)
        pixels, folder = torch.from_numpy(split.data), self.root / self.folder

        def read(places: Tensor) -> Tensor:
            return resize(pixels[places].permute(0, 3, 1, 2), self.options.size)

        more = 2 * count * 3 * 32 * 32
        given = self.images(chosen, 3, more, (folder / name for name in self.needed), read)
        return self.dataset(given, labels[chosen], tuple(split.classes))

    def _altered(self, datasets: Any) -> str:
        cifar, same = datasets.CIFAR10, datasets.utils.check_integrity
        published = [*cifar.train_list, *cifar.test_list, (cifar.meta["filename"], cifar.meta["md5"])]
        return ", ".join(name for name, md5 in published if not same(self.root / self.folder / name, md5))


class CelebA(TorchvisionSource):
    """CelebA: 162,770 aligned photographs of faces, 178 x 218 RGB, squeezed to 32 x 32 without cropping.

    References: Liu et al. 2015; Kamb & Ganguli 2025, released code (`Resize((32, 32))` and no crop).
    """

    name = "celeba"
    references = (CELEBA,)
    remote = "CelebA"
    folder = "celeba"
    files = ("list_eval_partition.txt", "img_align_celeba")
    preset = "paper/celeba-resnet-zeros"

    def read_split(self) -> mosaic.DataSet:
        """Read images (N, 3, size, size), range [-1, 1]; there are no labels.

        Raises
        ------
        DataError
            If the list names no images of the split, or an image is missing or damaged.
        """
        partition, folder = (self.root / self.folder / name for name in self.files)
        rows = [line.split() for line in partition.read_text(encoding="ascii", errors="replace").splitlines()]
        mark = "2" if self.options.split == "test" else "0"
        names = [row[0] for row in rows if len(row) == 2 and row[1] == mark]
        if not names:
            raise mosaic.DataError(
                f"'{partition}' names no {self.split_name} images (a file name, then {mark}); replace it by the "
                f"published file."
            )
        more = 256 * len(names)
        self.check_images(3, more)
        chosen, size = self.choose(len(names), None), self.options.size

        def read(places: Tensor) -> Tensor:
            small = torch.empty(len(places), 3, size, size, dtype=torch.float32, device="cpu")
            for row, index in enumerate(places.tolist()):
                photograph = torch.from_numpy(decode(folder / names[index], "RGB"))
                small[row] = resize(photograph.permute(2, 0, 1)[None], size)[0]
            return small

        paths = (path for index in chosen.tolist() if (path := folder / names[index]).exists())
        return self.dataset(self.images(chosen, 3, more, paths, read), None, ())


@mosaic.hookimpl
def register_datasets(register: mosaic.Register) -> None:
    register(Mnist)
    register(FashionMnist)
    register(Cifar10)
    register(CelebA)
