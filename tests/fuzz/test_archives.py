from __future__ import annotations

import io
import struct
import zipfile

import pytest
import small_package
from hostile import INTEGERS, NAMES, fuzz, mutations, outcome, refusal
from hypothesis import given
from hypothesis import strategies as st

from gvtzoo.packages.reader import open_package


def read_everything(path):
    package = open_package(path)
    contents = {name: package.read(name) for name in package.names()}
    return contents, package.build_network()


def check_zip(path, content, members):
    """Refused, or the small package itself, and no file anywhere but the zip."""
    path.write_bytes(content)
    result = outcome(read_everything, path)
    assert list(path.parent.iterdir()) == [path]
    if result is not None:
        contents, network = result
        for name in ("weights.safetensors", "weights.pt", "test_input.npy", "test_output.npy"):
            assert contents.get(name, members[name]) == members[name]
        for name, tensor in small_package.weights().items():
            assert network.state_dict()[name].equal(tensor)


def test_the_package_itself_is_taken(members, tmp_path):
    path = tmp_path / "model.zip"
    path.write_bytes(small_package.zipped(members))
    contents, _ = outcome(read_everything, path)
    assert contents == members


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@fuzz(15)
@given(mutate=mutations())
def test_damaged_bytes(members, tmp_path, compression, mutate):
    content = small_package.zipped(members, compression)
    check_zip(tmp_path / "model.zip", mutate(content), members)


# Field, offset in the local header (None: not there), offset in the directory, width.
FIELDS = [
    ("version", 4, 6, 2),
    ("flags", 6, 8, 2),
    ("compression", 8, 10, 2),
    ("time", 10, 12, 4),
    ("crc", 14, 16, 4),
    ("packed size", 18, 20, 4),
    ("size", 22, 24, 4),
    ("name length", 26, 28, 2),
    ("extra length", 28, 30, 2),
    ("comment length", None, 32, 2),
    ("system", None, 5, 1),
    ("attributes", None, 38, 4),
    ("header", None, 42, 4),
]


def patched(content, member, changes, everywhere):
    """A zip with header fields of one member overwritten in the directory, or wherever they are."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        info, at = archive.infolist()[member], archive.start_dir
        for other in archive.infolist()[:member]:
            at += 46 + len(other.filename)
    data = bytearray(content)
    for (_, local, central, width), value in changes:
        number = (value % 256**width).to_bytes(width, "little")
        data[at + central : at + central + width] = number
        if everywhere and local is not None:
            data[info.header_offset + local :][:width] = number
            data[info.header_offset + local : info.header_offset + local + width] = number
    return bytes(data)


@fuzz(20)
@given(
    member=st.integers(0, 4),
    changes=st.lists(
        st.tuples(
            st.sampled_from(FIELDS),
            st.sampled_from(INTEGERS) | st.integers(0, 100) | st.sampled_from([0o120777 << 16]),
        ),
        min_size=1,
        max_size=3,
    ),
    everywhere=st.booleans(),
)
def test_headers_that_lie(members, tmp_path, member, changes, everywhere):
    content = patched(small_package.zipped(members), member, changes, everywhere)
    check_zip(tmp_path / "model.zip", content, members)


@fuzz(10)
@given(
    field=st.sampled_from([(4, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2)]),
    value=st.sampled_from(INTEGERS) | st.integers(0, 5000),
)
def test_ends_that_lie(members, tmp_path, field, value):
    content = bytearray(small_package.zipped(members))
    (offset, width), at = field, len(content) - 22
    content[at + offset : at + offset + width] = (value % 256**width).to_bytes(width, "little")
    check_zip(tmp_path / "model.zip", bytes(content), members)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@fuzz(15)
@given(
    names=st.lists(
        st.text(max_size=12) | st.sampled_from([*NAMES, "rdf.yaml", "weights.safetensors", "a/b"]),
        max_size=4,
    ),
    mode=st.sampled_from([0o100644, 0o120777, 0o040755, 0o010644, 0o060644]),
)
def test_members_of_any_name_and_kind(members, tmp_path, names, mode):
    archive = io.BytesIO(small_package.zipped(members))
    with zipfile.ZipFile(archive, "a") as file:
        for name in names:
            info = zipfile.ZipInfo("x", (2026, 1, 1, 0, 0, 0))
            info.filename = name  # as it is: ZipInfo would mend some
            info.external_attr = mode << 16
            try:
                file.writestr(info, b"/etc/passwd")
            except UnicodeEncodeError:  # lone surrogates have no place in a zip
                return
    check_zip(tmp_path / "model.zip", archive.getvalue(), members)


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """A zip whose one member, the description, unpacks to half a gibibyte."""
    return small_package.zipped({"rdf.yaml": bytes(2**29)})


@pytest.mark.parametrize("claimed", [2**29, 1000, 2**24, 2**32 - 2])
def test_bombs_do_not_go_off(tmp_path, bomb, claimed):
    path = tmp_path / "model.zip"
    path.write_bytes(patched(bomb, 0, [(FIELDS[6], claimed)], everywhere=True))
    assert "model.zip" in refusal(read_everything, path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_bombs_of_other_compressions_do_not_go_off(tmp_path, compression):
    path = tmp_path / "model.zip"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", compression) as file:
        file.writestr("rdf.yaml", bytes(2**26))
    path.write_bytes(patched(archive.getvalue(), 0, [(FIELDS[6], 1000)], everywhere=True))
    assert "compressed in a way" in refusal(read_everything, path)


def test_weights_that_unpack_to_more_than_they_claim_do_not_go_off(members, tmp_path):
    files = {**members, "weights.safetensors": bytes(2**29)}
    content = patched(small_package.zipped(files), 1, [(FIELDS[6], 2**14)], everywhere=True)
    path = tmp_path / "model.zip"
    path.write_bytes(content)
    assert "weights.safetensors" in refusal(read_everything, path)


def test_millions_of_members_are_not_listed(tmp_path):
    entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)
    count = 2**21
    directory = (entry + b"x") * count
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(directory), 0, 0)
    path = tmp_path / "model.zip"
    path.write_bytes(directory + end)
    assert "directory" in refusal(open_package, path)


def test_too_many_members_are_refused(tmp_path):
    path = tmp_path / "model.zip"
    path.write_bytes(small_package.zipped({str(n): b"" for n in range(1001)}))
    assert "1001 members" in refusal(open_package, path)
