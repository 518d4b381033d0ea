"""OME-Zarr against zarr itself: drawn files of every kind, whole and in parts."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import numpy as np
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from ome_zarr_files import multiscale, zipped

from gvtzoo.images.files import open_image, read_image
from gvtzoo.images.ome_zarr import open_ome_zarr

DTYPES = ("u1", "<u2", ">u2", "<i2", "<u4", "<f4", ">f4", "<f8", "?")
COMPRESSORS = ("auto", None, zarr.codecs.GzipCodec(), zarr.codecs.ZstdCodec())


@st.composite
def stored(draw) -> dict:
    """How an image is stored."""
    version = draw(st.sampled_from(["0.4", "0.5", "0.6"]))
    dims = draw(st.sampled_from(["yx", "zyx", "cyx", "tzyx", "tczyx"]))
    shape = tuple(draw(st.integers(1, 9)) for _ in dims)
    chunks = tuple(draw(st.integers(1, size)) for size in shape)
    older = version == "0.4"
    shards = None
    if not older and draw(st.booleans()):
        shards = tuple(c * draw(st.integers(1, 3)) for c in chunks)
    dtype = draw(st.sampled_from(DTYPES))
    return {
        "version": version,
        "dims": dims,
        "shape": shape,
        "chunks": chunks,
        "shards": shards,
        "dtype": dtype if older else np.dtype(dtype).newbyteorder("="),
        "compressors": draw(st.sampled_from(COMPRESSORS[:2] if older else COMPRESSORS)),
        "separator": draw(st.sampled_from("./")),
        "fill_value": draw(st.sampled_from([0, 1])),
        "order": draw(st.sampled_from("CF")) if older else "C",
        "filled": draw(st.integers(0, 2)),
        "path": draw(st.sampled_from(["0", "s0", "deep/er"])),
        "zipped": draw(st.booleans()),
        "level": draw(st.integers(0, 1)),
    }


def write(folder: Path, how: dict) -> tuple[Path, list[np.ndarray]]:
    """The file, and what zarr reads of each level."""
    older = how["version"] == "0.4"
    paths = [how["path"], "1"]
    described = multiscale(how["dims"], levels=[
        [{"type": "scale", "scale": [float(n)] * len(how["dims"])}] for n in (1, 2)
    ])  # fmt: skip
    for dataset, path in zip(described["datasets"], paths, strict=True):
        dataset["path"] = path
    attributes = (
        {"multiscales": [described]}
        if older
        else {"ome": {"version": how["version"], "multiscales": [described]}}
    )
    group = zarr.create_group(folder, zarr_format=2 if older else 3, attributes=attributes)
    found = []
    for path in paths:
        array = group.create_array(
            path,
            shape=how["shape"],
            chunks=how["chunks"],
            shards=how["shards"],
            dtype=how["dtype"],
            compressors=how["compressors"],
            fill_value=np.dtype(how["dtype"]).type(how["fill_value"]),
            order=how["order"] if older else None,
            chunk_key_encoding={
                "name": "v2" if older else "default",
                "separator": how["separator"],
            },
        )
        values = np.random.default_rng(len(found)).integers(0, 200, how["shape"])
        if how["filled"] == 2:
            array[...] = values.astype(how["dtype"])
        elif how["filled"] == 1:  # some of the chunks only
            first = tuple(slice(0, c) for c in how["shards"] or how["chunks"])
            array[first] = values[first].astype(how["dtype"])
        found.append(np.asarray(zarr.open_group(folder, mode="r")[path][...]))
    return folder, found


@given(how=stored(), data=st.data())
@settings(max_examples=60, deadline=None)
def test_whole_and_in_parts_are_what_zarr_reads(how, data):
    with tempfile.TemporaryDirectory() as folder:
        path, levels = write(Path(folder) / "a.zarr", how)
        if how["zipped"]:
            path = zipped(path, Path(folder) / "a.ozx")
        expected = levels[how["level"]]
        options = {"level": how["level"], "keep_channels": True}
        whole = read_image(path, **options)
        assert whole.dims == tuple(how["dims"])
        assert whole.dtype == np.dtype(how["dtype"]).newbyteorder("=")
        np.testing.assert_array_equal(whole.to_numpy(), expected)
        image = open_image(path, **options)
        box = []
        for size in how["shape"]:
            start = data.draw(st.integers(0, size - 1))
            box.append(slice(start, data.draw(st.integers(start + 1, size))))
        np.testing.assert_array_equal(image.array[tuple(box)], expected[tuple(box)])
        cropped = image.crop(dict(zip(image.dims, box, strict=True)))
        np.testing.assert_array_equal(cropped.load().to_numpy(), expected[tuple(box)])
        assert math.prod(open_ome_zarr(path).array.shape) == expected.size
