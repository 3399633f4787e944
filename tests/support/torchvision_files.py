"""Small data sets in the folders and formats in which torchvision keeps them."""

from __future__ import annotations

import gzip
import hashlib
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mosaic.interfaces.torchvision_import import import_torchvision
from mosaic_data.torchvision_sets import CelebA, Cifar10, Mnist

IMAGES, LABELS = Mnist.files


def write_idx(path: Path, array: np.ndarray, packed: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()
    if packed:
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(content))
    else:
        path.write_bytes(content)


def small_mnist(root: Path, folder: str = Mnist.folder, packed: bool = False) -> tuple[np.ndarray, np.ndarray]:
    images = np.random.default_rng(0).integers(0, 256, (40, 28, 28), np.uint8)
    images[0] = 0
    labels = (np.arange(40) % 10).astype(np.uint8)
    write_idx(root / folder / IMAGES, images, packed)
    write_idx(root / folder / LABELS, labels, packed)
    return images, labels


def small_cifar(root: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[np.ndarray, list[int]]:
    """Write five batches of ten images, and declare their MD5 sums to be the published ones."""
    directory = root / Cifar10.folder
    directory.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 10, 3072), np.uint8)
    labels = list(range(10))
    content: dict[str, Any] = {f"data_batch_{i + 1}": {"data": pixels[i], "labels": labels} for i in range(5)}
    content |= {"test_batch": {}, "batches.meta": {"label_names": ["airplane", *"bcdefghij"]}}
    sums = {}
    for name, entry in content.items():
        (directory / name).write_bytes(pickle.dumps(entry))
        sums[name] = hashlib.md5((directory / name).read_bytes()).hexdigest()
    cifar = import_torchvision().datasets.CIFAR10
    monkeypatch.setattr(cifar, "train_list", [[name, sums[name]] for name in Cifar10.files[:5]])
    monkeypatch.setattr(cifar, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(cifar, "meta", {**cifar.meta, "md5": sums["batches.meta"]})
    return pixels.reshape(50, 3, 32, 32), labels * 5


def small_celeba(root: Path) -> np.ndarray:
    directory = root / CelebA.folder / "img_align_celeba"
    directory.mkdir(parents=True)
    tiles = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3), np.uint8)
    photographs = tiles.repeat(55, 1).repeat(45, 2)[:, :218, :178]
    for index, photograph in enumerate(photographs):
        # PNG under the published names: JPEG would change the pixels, and PIL goes by the content.
        Image.fromarray(photograph).save(directory / f"{index + 1:06}.jpg", format="PNG")
    split = [0, 0, 1, 0, 2, 0]
    lines = [f"{index + 1:06}.jpg {part}\n" for index, part in enumerate(split)]
    (root / CelebA.folder / "list_eval_partition.txt").write_text("".join(lines))
    return photographs[[0, 1, 3, 5]]
