"""PNG and JPEG: pictures of one plane, grey or in colours."""

from __future__ import annotations

import logging
import struct
from pathlib import Path

import numpy as np

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.content import Content

log = logging.getLogger(__name__)

JPEG_SUFFIXES = (".jpg", ".jpeg")
PICTURE_SUFFIXES = (".png", *JPEG_SUFFIXES)
COLOURS = ["red", "green", "blue"]
LARGEST_COMPRESSION = 10000  # pixels : bytes, which deflate reaches where 8 pixels are a byte
END_OF_JPEG, SCAN_OF_JPEG = b"\xff\xd9", b"\xff\xda"


def read_picture(path: Path) -> Content:
    """A picture, with colours as channels; its transparency is left out.

    Parameters
    ----------
    path : Path

    Raises
    ------
    GvtzooError
        When the file is cut off, or is in the colours of print.
    Exception
        Whatever the decoders raise for damaged files.
    """
    import imagecodecs

    data = path.read_bytes()
    if path.suffix.lower() in JPEG_SUFFIXES:
        # The decoder goes on with grey where a file ends too early.
        if data.rfind(END_OF_JPEG) < data.rfind(SCAN_OF_JPEG):
            raise GvtzooError("it is truncated: copy or export it again")
        array = imagecodecs.jpeg_decode(data)
        if array.ndim == 3 and array.shape[-1] == 4:
            raise GvtzooError("it is in the four colours of print: save it in grey or RGB")
        log.warning("%s: JPEG changes the values of pixels: save images as TIFF or PNG", path.name)
    else:
        _check_png(data)
        array = _opaque(imagecodecs.png_decode(data), path.name)
    if array.ndim == 2:
        return Content(array, "yx")
    return Content(array, "yxc", channels=COLOURS)


def _check_png(data: bytes) -> None:
    """Refuse a picture that is made room for, but of which the file can hold next to nothing."""
    if len(data) < 24:
        raise GvtzooError("it is truncated: copy or export it again")
    width, height = struct.unpack(">II", data[16:24])
    if width * height > LARGEST_COMPRESSION * len(data):
        raise GvtzooError(
            f"it tells of a picture of {width}×{height} pixels, in a file of {len(data)} bytes"
        )


def _opaque(array: np.ndarray, name: str) -> np.ndarray:
    """Without the channel of transparency."""
    if array.ndim == 2 or array.shape[-1] == 3:
        return array
    if array[..., -1].min() < array[..., -1].max():
        log.warning("%s: its transparency is left out", name)
    return array[..., :-1] if array.shape[-1] == 4 else array[..., 0]
