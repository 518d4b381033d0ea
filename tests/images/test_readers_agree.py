"""Tiles, the whole image, and what the format's own library reads are the same, for any file.

More files than the suite draws: ``GVTZOO_EXAMPLES=5000 pytest tests/images/test_readers_agree.py``
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tifffile
from hypothesis import HealthCheck, Phase, assume, event, given, settings
from hypothesis import strategies as st

from gvtzoo.images.files import open_image, read_image
from gvtzoo.images.lazy import pieces, whole
from gvtzoo.images.npy import open_npy, open_npz
from gvtzoo.images.tiff import read_tiff

EXAMPLES = int(os.environ.get("GVTZOO_EXAMPLES", "40"))
examples = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=(Phase.explicit, Phase.generate),
)

COMPRESSIONS = [None, "zlib", "lzw", "zstd", "packbits", "lzma"]
PREDICTED = ("zlib", "lzw", "zstd", "lzma")
TYPES = {
    "imagej": ["u1", "u2", "f4"],
    "ome": ["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"],
    "shaped": ["u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8", "u8", "i8"],
    "plain": ["u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8", "u8", "i8"],
}


@dataclass
class Drawn:
    """A TIFF file to be written: images, and how."""

    flavour: str
    arrays: list[np.ndarray]
    levels: int
    file: dict[str, Any]
    page: dict[str, Any]
    metadata: dict[str, Any] = field(default_factory=dict)

    def write(self, path):
        with tifffile.TiffWriter(path, **self.file) as writer:
            for number, array in enumerate(self.arrays):
                options = dict(self.page)
                if self.flavour == "ome":
                    options["metadata"] = {**self.metadata, "Name": f"image {number}"}
                elif self.flavour == "plain":
                    options["metadata"] = None
                elif self.flavour == "imagej":
                    options["metadata"] = self.metadata
                writer.write(array, subifds=self.levels or None, **options)
                for level in range(self.levels):
                    step = 2 ** (level + 1)
                    options["metadata"] = None
                    coarse = array[..., ::step, ::step]
                    writer.write(np.ascontiguousarray(coarse), subfiletype=1, **options)


@st.composite
def tiffs(draw):
    flavour = draw(st.sampled_from(list(TYPES)))
    dtype = draw(st.sampled_from(TYPES[flavour]))
    colours = draw(st.booleans()) and flavour in ("plain", "shaped") and dtype in ("u1", "u2")
    # OME-TIFF's and tifffile's own description tell the axes; ImageJ's, too, in its order.
    others = draw(st.integers(0, 1 if flavour == "plain" else 3))
    axes = {"imagej": "TZC", "ome": draw(st.sampled_from(["TZC", "TCZ", "CZT"]))}.get(
        flavour, "TZC"
    )[3 - others :] + "YX"
    shape = [draw(st.integers(2, 4)) for _ in range(others)]
    shape += [draw(st.integers(5, 40)), draw(st.integers(5, 40))]
    page: dict[str, Any] = {"photometric": "minisblack"}
    if colours:
        page = {"photometric": "rgb", "planarconfig": draw(st.sampled_from(["contig", "separate"]))}
        shape = [*shape, 3] if page["planarconfig"] == "contig" else [*shape[:-2], 3, *shape[-2:]]
    page["compression"] = draw(st.sampled_from(COMPRESSIONS))
    if page["compression"] in PREDICTED and dtype not in ("u8", "i8", "f2"):
        page["predictor"] = draw(st.booleans())
    if flavour != "imagej" and draw(st.booleans()):
        page["tile"] = draw(st.sampled_from([(16, 16), (32, 16), (16, 48)]))
    elif page["compression"] is not None or draw(st.booleans()):
        page["rowsperstrip"] = draw(st.integers(1, 40))
    images = draw(st.integers(1, 3)) if flavour in ("ome", "shaped", "plain") else 1
    levels = draw(st.integers(0, 2)) if flavour == "ome" else 0
    file: dict[str, Any] = {"byteorder": draw(st.sampled_from(["<", ">"]))}
    if flavour == "imagej":
        file["imagej"] = True
    else:
        file["bigtiff"] = draw(st.booleans())
        file["ome"] = flavour == "ome"
    random = np.random.default_rng(draw(st.integers(0, 99)))
    wider = 0 if colours or draw(st.booleans()) else 1
    sizes = [[*shape[:-1], shape[-1] + wider * number] for number in range(images)]
    arrays = [random.integers(0, 120, size).astype(dtype) for size in sizes]
    return Drawn(flavour, arrays, levels, file, page, {"axes": axes})


@st.composite
def boxes_in(draw, shape):
    box = []
    for size in shape:
        start = draw(st.integers(0, size - 1))
        box.append(slice(start, draw(st.integers(start + 1, size))))
    return tuple(box)


def assert_reads_like(array, expected, data):
    """In boxes, in one, and in pieces."""
    assert tuple(array.shape) == expected.shape
    assert np.dtype(array.dtype).newbyteorder("=") == expected.dtype.newbyteorder("=")
    np.testing.assert_array_equal(array[whole(expected.shape)], expected)
    for _ in range(3):
        box = data.draw(boxes_in(expected.shape))
        np.testing.assert_array_equal(array[box], expected[box])
    flat = np.concatenate([piece.ravel() for piece in pieces(array, 50)])
    np.testing.assert_array_equal(np.sort(flat), np.sort(expected, axis=None))


@examples
@given(tiffs(), st.data())
def test_tiff_in_tiles_whole_and_by_tifffile(tmp_path, drawn, data):
    path = tmp_path / "a.tif"
    try:
        drawn.write(path)
    except (ValueError, NotImplementedError):  # what this library does not write
        assume(False)
    event(drawn.flavour)
    with tifffile.TiffFile(path) as tiff:
        series = tiff.series
        planes = [one for one in series if one.kind == "shaped" and one.axes in ("YX", "YXS")]
        if len(planes) == len(series) > 1 and len({one.shape for one in planes}) == 1:
            event("written plane by plane")
            expected = np.stack([one.asarray() for one in planes])
            assert_reads_like(read_tiff(path).array, expected, data)
            return
        for number, one in enumerate(series):
            for level, pixels in enumerate(one.levels):
                content = read_tiff(path, series=number, level=level)
                assert_reads_like(content.array, pixels.asarray(), data)
    # And it is what was written.
    if drawn.flavour != "plain" and len(series) == len(drawn.arrays):
        found = read_tiff(path, series=len(drawn.arrays) - 1).array
        expected = drawn.arrays[-1]
        np.testing.assert_array_equal(found[whole(found.shape)], expected.reshape(found.shape))


@st.composite
def numbers(draw):
    shape = draw(st.lists(st.integers(1, 6), min_size=2, max_size=4))
    dtype = draw(st.sampled_from(["u1", "<u2", ">u2", "<i4", ">f4", "<f4", "<f8", ">f8", "f2"]))
    array = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 200, shape).astype(dtype)
    return np.asfortranarray(array) if draw(st.booleans()) else array


@examples
@given(numbers(), st.data())
def test_npy_and_npz_in_tiles_whole_and_by_numpy(tmp_path, array, data):
    axes = "TCZYX"[-array.ndim :]
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "stored.npz", image=array)
    np.savez_compressed(tmp_path / "packed.npz", image=array)
    assert_reads_like(open_npy(tmp_path / "a.npy"), np.load(tmp_path / "a.npy"), data)
    for name in ("stored.npz", "packed.npz"):
        assert_reads_like(open_npz(tmp_path / name), array, data)
        image = read_image(tmp_path / name, axes=axes, keep_channels=True)
        np.testing.assert_array_equal(image, array)
        opened = open_image(tmp_path / name, axes=axes, keep_channels=True)
        np.testing.assert_array_equal(opened.load(), array)
