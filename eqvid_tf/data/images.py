"""Image files of any mode as uint8 RGB, through Pillow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    Image.DecompressionBombError,
)  # what Pillow raises of such a file
ORIENTATION = 0x0112  # the EXIF tag; its values are 1 to 8


class ClipError(ValueError):
    """A clip or an image that cannot be used, in one line: which, what is wrong, what to do."""


def read_image(path: str | Path) -> np.ndarray:
    """Read an image file as uint8 RGB [h, w, 3], upright.

    Convention:
        16-bit values are scaled to 8 bits, floats are taken as [0, 1], grey and palette images become RGB, and
        transparent pixels are composited over black.

    Raises:
        ClipError: the file is missing, damaged or no image.
    """
    path = Path(path)
    with open_image(path) as image:
        try:
            return to_rgb(ImageOps.exif_transpose(image) if _orientation(image) != 1 else image)
        except DAMAGED as error:
            raise ClipError(f"{path}: the image is cut or damaged. Remove it or make it again.") from error


def open_image(path: Path) -> Image.Image:
    """Open an image file without decoding it.

    Raises:
        ClipError: the file is missing or no image.
    """
    if not path.is_file():
        raise ClipError(f"{path}: there is no such file. Check the path.")
    try:
        return Image.open(path)
    except DAMAGED as error:
        raise ClipError(f"{path}: this is not an image, or it is damaged. Remove it or make it again.") from error


def image_size(path: Path) -> tuple[int, int]:
    """Read (height, width), as displayed, from the file's header alone."""
    with open_image(path) as image:
        transposed = _orientation(image) >= 5  # orientations 5 to 8 swap the axes
        return (image.width, image.height) if transposed else (image.height, image.width)


def _orientation(image: Image.Image) -> int:
    if image.format == "PNG" and "exif" not in image.info:  # Pillow would decode it all to look further
        return 1
    return image.getexif().get(ORIENTATION, 1)


def to_rgb(image: Image.Image) -> np.ndarray:
    """Convert a Pillow image of any mode to uint8 RGB [h, w, 3]."""
    if image.mode.startswith("I") or image.mode == "F":
        grey = np.asarray(image, np.float64) * (255 if image.mode == "F" else 255 / 65535)
        return np.repeat(np.clip(np.rint(grey), 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    if image.has_transparency_data:
        return over_black(np.asarray(image.convert("RGBA")))
    return np.asarray(image.convert("RGB"))


def over_black(layer: np.ndarray) -> np.ndarray:
    """Composite a picture of straight alpha over black, rounded to nearest.

    Shapes: [h, w, 4] uint8 -> [h, w, 3] uint8.
    """
    colour, alpha = layer[..., :3], layer[..., 3:]
    if alpha.min() == 255:
        return np.ascontiguousarray(colour)
    return ((colour.astype(np.uint16) * alpha + 127) // 255).astype(np.uint8)
