"""Image files: what one holds, and its pixels."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import mosaic
from mosaic_data.text import error_line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

__all__ = ["Encoded", "ImageKind", "decode", "inspect"]

Mode = Literal["L", "RGB"]


class Encoded(Protocol):
    """What holds an encoded image: a path, or the member of an archive, which has a name as text, too."""

    def open(self, mode: Literal["rb"]) -> IO[bytes]:
        """Open it, to be read from the start."""


# What may be decoded, whatever a file is called: Pillow knows more formats, and hands some to other programs.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")

ORIENTATION = 0x0112  # the tag of EXIF and TIFF
WIDTH, HEIGHT, BITS, PHOTOMETRIC, SAMPLE_FORMAT = 256, 257, 258, 262, 339  # tags of TIFF
WHITE_IS_ZERO, BLACK_IS_ZERO = 0, 1  # values of PHOTOMETRIC


class ImageKind(NamedTuple):
    """What an image file holds.

    Attributes
    ----------
    mode : str
        "L": grey, "RGB": any other.
    size : (int, int)
        Width and height, as the image is to be seen.
    depth : int
        Bits a channel: 16 for grey images that have them, else 8.
    frames : int
        Frames or pages.
    stored : str
        The mode as stored, in Pillow's words.
    """

    mode: Mode
    size: tuple[int, int]
    depth: int = 8
    frames: int = 1
    stored: str = ""


def inspect(path: Encoded) -> ImageKind:
    """Find what an image file holds, without decoding it.

    Raises
    ------
    DataError
        If the file is not an image, is in LAB colours, has more bits a channel than can be read (16 for grey images, 8
        for others), or signed or floating-point numbers.
    """
    with _opened(path) as image:
        return _kind(image, path)


def decode(path: Encoded, mode: Mode, depth: int = 8) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Decode an image, the way up that it is to be seen; of many frames or pages the first.

    Returns
    -------
    ndarray
        (height, width) for "L" and (height, width, 3) for "RGB", uint8 or (depth 16) uint16.

    Raises
    ------
    DataError
        If the file is missing, damaged or not an image, has transparent pixels, or not that depth.
    """
    import numpy as np

    with _opened(path) as image:
        kind = _kind(image, path)
        if kind.depth != depth:
            raise mosaic.DataError(f"Image '{path}' has {kind.depth} bits a channel, where {depth} are expected.")
        bits = _grey_bits(image)
        upright = _upright(image)
        if upright.mode == "L" and isinstance(seen := upright.info.get("transparency"), int):
            # Pillow spreads the values of 2 and 4 bits over 8, but not the value that is transparent.
            upright.info["transparency"] = seen * 255 // (2**bits - 1)
        if depth == 16:
            pixels = np.array(upright).astype(np.uint16)
            if (pixels == image.info.get("transparency", -1)).any():
                raise _transparent(path)
            return pixels if mode == "L" else np.stack([pixels] * 3, axis=-1)
        # PIL warns when it drops a palette's transparency in one step.
        full = upright.convert("RGBA") if "transparency" in image.info else upright
        if full.mode in ("LA", "PA", "RGBA") and np.asarray(full.getchannel("A")).min() < 255:
            raise _transparent(path)
        return np.array(full.convert(mode))


def _kind(image: ImageFile, path: Encoded) -> ImageKind:
    bits = _bits(image)
    if image.mode == "LAB":
        raise mosaic.DataError(f"Image '{path}' is in LAB colours, which cannot be read; convert it to RGB first.")
    is_deep_grey = bits == 16 and image.mode in ("I", "I;16", "I;16L", "I;16B") and _is_plain(image)
    is_deep = bits > 8 or image.mode == "F" or image.mode.startswith("I")
    if (is_deep and not is_deep_grey) or _numbers(image) != "unsigned":
        white = ", 0 for white" if image.format == "TIFF" and _tags(image).get(PHOTOMETRIC) == WHITE_IS_ZERO else ""
        raise mosaic.DataError(
            f"Image '{path}' has {_numbers(image)} numbers of {bits} bits a channel{white} (Pillow's mode "
            f"{image.mode}); what is read are unsigned numbers of 8 bits, and of 16 in grey images with 0 for black. "
            "Save it as one of these, or put the pixels into a .npz file, as floats or uint16, and use the data set "
            "'file'."
        )
    is_grey = is_deep_grey or image.mode in ("1", "L", "LA")
    frames = int(getattr(image, "n_frames", 1))
    return ImageKind("L" if is_grey else "RGB", _size(image), 16 if is_deep_grey else 8, frames, image.mode)


def _bits(image: ImageFile) -> int:
    """Bits a channel as stored: Pillow drops half of 16 in colour images, and says so only to its decoder."""
    if image.format == "TIFF":
        stored = _tags(image).get(BITS, 1)
        return int(max(stored)) if isinstance(stored, tuple) else int(stored)
    codec, arguments = ("", "") if not image.tile else (image.tile[0][0], image.tile[0][3])
    values = arguments if isinstance(arguments, tuple) else (arguments,)
    if codec.startswith("ppm"):
        return 16 if int(values[1]) > 255 else 8
    raw = next((value for value in values if isinstance(value, str)), "")
    match = re.match(r"(?!BGR)\w+;(\d\d)", raw)  # BGR;16 has 16 bits for all three
    return int(match[1]) if match else {"I": 32, "F": 32}.get(image.mode, 8)


def _grey_bits(image: ImageFile) -> int:
    """Bits of a grey pixel of 8 bits or fewer, as stored; known until the image is decoded."""
    raw = str(image.tile[0][3]) if image.tile else ""
    match = re.search(r"L;(\d)", raw)
    return int(match[1]) if match else 8


def _is_plain(image: ImageFile) -> bool:
    """Whether 16 bits mean 0 for black to 65535 for white."""
    if image.format == "TIFF":
        return "S" not in str(image.tile[0][3]) and _tags(image).get(PHOTOMETRIC) == BLACK_IS_ZERO
    return image.format in ("PNG", "PPM")


def _numbers(image: ImageFile) -> str:
    """Kind of number that a channel is. Pillow reads signed bytes as if they were not."""
    if image.format != "TIFF":
        return "floating-point" if image.mode == "F" else "unsigned"
    stored = _tags(image).get(SAMPLE_FORMAT, 1)
    kinds = set(stored) if isinstance(stored, tuple) else {stored}
    return "floating-point" if 3 in kinds else "signed" if 2 in kinds else "unsigned"


def _tags(image: ImageFile) -> Any:
    return image.tag_v2  # type: ignore[attr-defined]


def _size(image: ImageFile) -> tuple[int, int]:
    """Width and height as the image is to be seen."""
    width, height = image.size
    if image.format == "TIFF":  # some versions of Pillow turn its size, others do not
        width, height = int(_tags(image)[WIDTH]), int(_tags(image)[HEIGHT])
    size = width, height
    return size[::-1] if _orientation(image) >= 5 else size


def _orientation(image: Image) -> int:
    """EXIF orientation, 1 to 8; 1 where there is none that can be read."""
    from PIL import Image as Pillow

    try:
        orientation = Pillow.Image.getexif(image).get(ORIENTATION, 1)  # that of PNG files decodes all pixels first
    except Exception:  # an image with damaged EXIF data is an image
        return 1
    return orientation if orientation in range(1, 9) else 1


def _upright(image: Image) -> Image:
    """Decode, and turn or mirror the image as its EXIF orientation says."""
    from PIL.Image import Transpose

    image.load()  # turns TIFF files, and finds EXIF data behind the pixels
    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    turn = turns.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def _transparent(path: Encoded) -> mosaic.DataError:
    return mosaic.DataError(f"Image '{path}' has transparent pixels; put it on a background first.")


@contextmanager
def _opened(path: Encoded) -> Iterator[ImageFile]:
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, on metadata and size: what is wrong with pixels raises
            # Given a path, Pillow maps the file into memory, and then mixes up the sides of turned TIFF files.
            with path.open("rb") as stream, Image.open(stream, formats=FORMATS) as image:
                yield image
    except mosaic.DataError:
        raise
    except Exception as error:  # PIL's decoders raise errors of many kinds for a damaged file
        raise mosaic.DataError(
            f"Image '{path}' cannot be read ({error_line(error)}); repair it or take it out."
        ) from error
