from __future__ import annotations

import io
import pickle
import struct
import zipfile
from contextlib import suppress

import numpy as np
import pytest
import small_package
import tifffile
import xarray as xr
from hostile import INTEGERS, fuzz, mutations, outcome, refusal
from hypothesis import given
from hypothesis import strategies as st

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.files import read_image, write_image

pytestmark = pytest.mark.filterwarnings("ignore")

IMAGE = (np.arange(3 * 12 * 14) % 251).astype("u1").reshape(3, 12, 14)
KINDS = {
    "ImageJ": {"imagej": True, "metadata": {"axes": "ZYX", "spacing": 0.5, "unit": "um"}},
    "OME": {"ome": True, "metadata": {"axes": "ZYX", "PhysicalSizeX": 0.1}},
    "plain": {"metadata": None},
    "shaped": {},
    "BigTIFF": {"bigtiff": True, "metadata": {"axes": "ZYX"}},
    "big-endian": {"byteorder": ">", "imagej": True},
    "deflate": {"compression": "zlib", "predictor": True},
    "LZW tiles": {"compression": "lzw", "tile": (16, 16)},
    "PackBits": {"compression": "packbits", "rowsperstrip": 5},
    "JPEG": {"compression": "jpeg", "metadata": None},
    "zstd": {"compression": "zstd"},
}


def tiff(**options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, IMAGE, **options)
    return file.getvalue()


TIFFS = {kind: tiff(**options) for kind, options in KINDS.items()}


def check(path, content):
    """Refused, or an image with named axes, finite calibration, and values that are there."""
    path.write_bytes(content)
    image = outcome(read_image, path)
    assert list(path.parent.iterdir()) == [path]
    if image is not None:
        assert isinstance(image, xr.DataArray)
        assert {"y", "x"} <= set(image.dims)
        assert all(0 < size < np.inf for size in image.attrs["pixel_size"].values())
        assert image.to_numpy().dtype.kind in "buifc"


@pytest.mark.parametrize("kind", KINDS)
@fuzz(8)
@given(mutate=mutations())
def test_damaged_tiffs(tmp_path, kind, mutate):
    check(tmp_path / "a.tif", mutate(TIFFS[kind]))


@pytest.mark.parametrize("kind", ["ImageJ", "BigTIFF", "big-endian", "deflate", "LZW tiles"])
@fuzz(10)
@given(data=st.data())
def test_tags_that_lie(tmp_path, kind, data):
    content = bytearray(TIFFS[kind])
    order = ">" if kind == "big-endian" else "<"
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        tags = [(tag.offset, file.tiff.offsetsize) for page in file.pages for tag in page.tags]
    for _ in range(data.draw(st.integers(1, 3))):
        at, width = data.draw(st.sampled_from(tags))
        field, size = data.draw(st.sampled_from([(0, 2), (2, 2), (4, width), (4 + width, width)]))
        value = data.draw(st.sampled_from(INTEGERS) | st.integers(0, 300))
        code = {2: "H", 4: "I", 8: "Q"}[size]
        number = struct.pack(order + code, value % 256**size)
        content[at + field : at + field + size] = number
    check(tmp_path / "a.tif", bytes(content))


WORDS = ["ImageJ=1.54f", "images=", "slices=", "frames=", "channels=", "hyperstack=true", "order="]
WORDS += ["unit=um", "unit=\\u00B5m", "unit=\\uD800", "spacing=", "finterval=", "tunit=sec", "min="]
WORDS += ["gvtzoo_axes=ZYX", "gvtzoo_axes=", "zunit=", "loop=false", "Labels=", "Info="]
NUMBERS = ["", "0", "-1", "1e999", "nan", "inf", "3", "2", "1000000000", "9" * 50, "true", "a"]


@fuzz(15)
@given(
    lines=st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(NUMBERS)), max_size=8),
    resolution=st.tuples(*[st.sampled_from([0, 1e-9, 0.3, 2.5, 1e6, 4e9])] * 2),
)
def test_imagej_texts_of_any_kind(tmp_path, lines, resolution):
    file = io.BytesIO()
    text = "ImageJ=1.54f\n" + "\n".join(word + number for word, number in lines)
    tifffile.imwrite(
        file,
        IMAGE,
        description=text.encode("ascii", "replace"),
        metadata=None,
        resolution=resolution,
    )
    check(tmp_path / "a.tif", file.getvalue())


OME = """<?xml version="1.0"?>{doctype}
<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:1">
<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="{order}" Type="uint8"
 SizeX="{x}" SizeY="{y}" SizeZ="{z}" SizeC="{c}" SizeT="{t}" PhysicalSizeX="{size}"
 PhysicalSizeXUnit="{unit}" TimeIncrement="{size}"><Channel ID="Channel:0:0" Name="{name}"
 SamplesPerPixel="{samples}"/>
<TiffData IFD="{ifd}" PlaneCount="{planes}" FirstZ="{first}">{uuid}</TiffData>
</Pixels></Image>{more}</OME>"""
SANE = {
    **{"doctype": "", "order": "XYZCT", "x": "14", "y": "12", "z": "3", "c": "1", "t": "1"},
    **{"size": "0.1", "unit": "µm", "name": "DNA", "samples": "1", "ifd": "0", "planes": "3"},
    **{"first": "0", "uuid": "", "more": ""},
}


def ome(**changes) -> bytes:
    """A TIFF with this OME-XML, in as many pages as the image has planes."""
    file = io.BytesIO()
    text = OME.format(**SANE | changes).encode("utf-8", "xmlcharrefreplace")
    tifffile.imwrite(file, IMAGE, description=text, metadata=None)
    return file.getvalue()


def test_the_ome_image_itself_is_read(tmp_path):
    path = tmp_path / "a.ome.tif"
    path.write_bytes(ome())
    np.testing.assert_array_equal(read_image(path), IMAGE)


def test_many_planes_are_no_bomb(tmp_path):
    """The last plane's place along every axis is told, and none of them is a count."""
    planes = np.zeros((20, 2, 50, 4, 4), "u1")
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, planes, ome=True, photometric="minisblack", metadata={"axes": "TCZYX"})
    with tifffile.TiffFile(path) as file:
        whole = '<TiffData IFD="0" PlaneCount="2000"/>'
        text = file.ome_metadata
        assert whole in text
    each = "".join(
        f'<TiffData IFD="{n}" FirstT="{n // 100}" FirstC="{n // 50 % 2}" FirstZ="{n % 50}"/>'
        for n in range(2000)
    )
    tifffile.tiffcomment(path, text.replace(whole, each).encode())
    image = outcome(lambda: read_image(path, keep_channels=True))
    assert image.shape == planes.shape


@fuzz(25)
@given(
    changes=st.dictionaries(
        st.sampled_from([key for key in SANE if key not in ("doctype", "uuid", "more")]),
        st.sampled_from(
            [*NUMBERS, "4", "5", "12", "14", "XYCZT", "XYZTCM", "µm", "&amp;", "A&#10;B"]
        ),
        max_size=4,
    )
)
def test_ome_texts_of_any_kind(tmp_path, changes):
    check(tmp_path / "a.ome.tif", ome(**changes))


ENTITIES = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "bomb"}">' for n in range(12))
OME_BOMBS = {
    "entities": {"doctype": f"<!DOCTYPE OME [{ENTITIES}]>", "name": "&e11;"},
    "file entity": {
        "doctype": '<!DOCTYPE OME [<!ENTITY e SYSTEM "file:///etc/passwd">]>',
        "name": "&e;",
    },
    "planes": {"planes": str(10**9)},
    "first plane": {"first": str(10**9), "z": str(10**10)},
    "page": {"ifd": str(10**12)},
    "sizes": {"z": str(10**6), "c": str(10**6), "t": str(10**6)},
    "height": {"y": str(10**9)},
    "area": {"x": str(10**9), "y": str(10**9)},
    "file elsewhere": {"uuid": '<UUID FileName="../../other.tif">urn:uuid:2</UUID>'},
    "absolute file": {"uuid": '<UUID FileName="/dev/zero">urn:uuid:2</UUID>'},
    "modulo": {
        "more": '<StructuredAnnotations><XMLAnnotation ID="a" Namespace="x/modulo"><Value><Modulo>'
        '<ModuloAlongZ Type="lifetime" Start="0" End="1e12" Step="1"/></Modulo></Value>'
        "</XMLAnnotation></StructuredAnnotations>"
    },
    "deep": {"more": "<a>" * 200_000 + "</a>" * 200_000},
}


@pytest.mark.parametrize("kind", OME_BOMBS)
def test_ome_bombs_do_not_go_off(tmp_path, kind):
    path = tmp_path / "a.ome.tif"
    path.write_bytes(ome(**OME_BOMBS[kind]))
    if kind == "deep":  # of no consequence
        check(path, path.read_bytes())
    else:
        assert "a.ome.tif" in refusal(read_image, path)


def test_images_that_are_not_there_are_not_made(tmp_path):
    """Gigabytes of pixels, all of them missing: zeros to many readers."""
    content = bytearray(TIFFS["plain"])
    sizes = {"ImageWidth": 2**15, "ImageLength": 2**15, "RowsPerStrip": 2**15}
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        for page in file.pages:
            for name, value in {**sizes, "StripOffsets": 0, "StripByteCounts": 0}.items():
                tag = page.tags[name]
                content[tag.offset + 2 : tag.offset + 12] = struct.pack("<HII", 4, 1, value)
    path = tmp_path / "a.tif"
    path.write_bytes(content)
    assert "bytes" in refusal(read_image, path)


def npy_header(text: bytes, version=(1, 0)) -> bytes:
    size = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + size + text


SHAPES = ["()", "(3,)", "(2, 2)", "(10**9,)", "(1000000000000,)", "(-1, 4)", "(1.5, 2)", "(1, 'a')"]
SHAPES += [
    "(0, 5)",
    "(" + "1," * 40 + ")",
    "(" + "1," * 100 + ")",
    "None",
    "3",
    "[2, 2]",
    "(True,)",
]
SHAPES += ["(" * 200 + ")" * 200, "(9223372036854775807, 9223372036854775807)", "(2, 99999999999)"]
DTYPES = ["'<f4'", "'|O'", "'>u2'", "'<U4'", "'|V10'", "'|S0'", "'<M8[D]'", "[('a', '<f4')]", "'?'"]
DTYPES += ["[('a', '|O')]", "'x'", "None", "7", "'<f4', '<f4'", "'<c16'", "'<f2'", "'<f16'", "'i'"]


@fuzz(60)
@given(
    shape=st.sampled_from(SHAPES),
    dtype=st.sampled_from(DTYPES),
    order=st.sampled_from(["True", "False", "1", "None"]),
    version=st.sampled_from([(1, 0), (2, 0), (3, 0), (9, 9)]),
    body=st.integers(0, 64),
    form=st.sampled_from(["npy", "npz"]),
)
def test_npy_headers_of_any_kind(tmp_path, shape, dtype, order, version, body, form):
    text = f"{{'descr': {dtype}, 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()
    content = npy_header(text, version) + bytes(range(body))
    if form == "npz":
        content = small_package.zipped({"image.npy": content})
    path = tmp_path / f"a.{form}"
    path.write_bytes(content)
    image = outcome(read_image, path)
    assert image is None or image.size * image.dtype.itemsize <= body


@pytest.mark.parametrize("form", ["npy", "npz"])
@fuzz(10)
@given(mutate=mutations())
def test_damaged_arrays(tmp_path, form, mutate):
    content = small_package.npy(IMAGE)
    if form == "npz":
        content = small_package.zipped({"image.npy": content})
    check(tmp_path / f"a.{form}", mutate(content))


class Malice:
    def __reduce__(self):
        return eval, ("open('evil', 'w')",)


@pytest.mark.parametrize("form", ["npy", "npz"])
def test_objects_in_arrays_are_not_made(tmp_path, monkeypatch, form):
    monkeypatch.chdir(tmp_path)
    array = np.array([[Malice(), Malice()]], dtype=object)
    (np.save if form == "npy" else np.savez)(tmp_path / f"a.{form}", array)
    assert "objects" in refusal(read_image, tmp_path / f"a.{form}")
    (tmp_path / f"b.{form}").write_bytes(pickle.dumps(Malice()))
    assert "damaged" in refusal(read_image, tmp_path / f"b.{form}")
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_npz_bombs_do_not_go_off(tmp_path, compression):
    """A terabyte that the header tells of, and half a gigabyte of zeros behind it."""
    text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (250000, 1000000), }\n"
    size = 2**29 if compression == zipfile.ZIP_DEFLATED else 2**26
    path = tmp_path / "a.npz"
    path.write_bytes(
        small_package.zipped({"image.npy": npy_header(text) + bytes(size)}, compression)
    )
    assert "a.npz" in refusal(read_image, path)


@fuzz(15)
@given(name=st.text(max_size=10), unit=st.text(max_size=10), size=st.floats())
def test_what_a_file_says_can_be_written_again(tmp_path, name, unit, size):
    attributes = {"pixel_size": {"z": size, "x": size}, "unit": unit}
    image = xr.DataArray(IMAGE, dims=tuple("zyx"), name=name, attrs=attributes)
    path = tmp_path / "a.tif"
    with suppress(GvtzooError):
        write_image(path, image, overwrite=True)
        check(path, path.read_bytes())
