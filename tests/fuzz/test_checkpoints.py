from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from hostile import INTEGERS, changed, fuzz, mutations, outcome, refusal
from hypothesis import given
from hypothesis import strategies as st

from gvtzoo.networks.config import DENOISING, NetworkConfig
from gvtzoo.packages import tensorflow
from gvtzoo.packages.importing import read_config
from gvtzoo.packages.tensorflow import config_from_reference, read_checkpoint, to_state_dict

GOLDEN = Path(__file__).parent.parent / "golden" / "denoise"
INDEX = (GOLDEN / "model.ckpt-pretrained.index").read_bytes()
DATA = (GOLDEN / "model.ckpt-pretrained.data-00000-of-00001").read_bytes()
SETTINGS = json.loads((GOLDEN / "config.json").read_text())
VARIABLES = read_checkpoint(GOLDEN)


def varint(number: int) -> bytes:
    data = bytearray()
    while number > 0x7F:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*data, number])


def block(entries) -> bytes:
    """A block of (shared, added key, value), with its checksum."""
    data = b"".join(
        varint(shared) + varint(len(key)) + varint(len(value)) + key + value
        for shared, key, value in entries
    )
    data += struct.pack("<II", 0, 1)
    return data + b"\0" + struct.pack("<I", tensorflow._masked_crc(data + b"\0"))


def table(content: bytes, handles: list[tuple[int, int]]) -> bytes:
    """A table of a block of data, and an index that names these (offset, size)."""
    index = block((0, b"%07d" % n, varint(a) + varint(s)) for n, (a, s) in enumerate(handles))
    footer = varint(0) + varint(0) + varint(len(content)) + varint(len(index) - 5)
    footer = footer.ljust(40, b"\0") + struct.pack("<Q", tensorflow.TABLE_MAGIC)
    return content + index + footer


def entry(shape=(2,), dtype=1, shard=0, offset=0, size=8, checksum=None, data=DATA[:8]) -> bytes:
    """A ``BundleEntryProto``."""
    dimensions = b"".join(
        b"\x12" + varint(len(d)) + d for d in (b"\x08" + varint(n) for n in shape)
    )
    if checksum is None:
        checksum = tensorflow._masked_crc(data)
    return b"".join(
        [
            *(b"\x08" + varint(dtype), b"\x12" + varint(len(dimensions)) + dimensions),
            *(b"\x18" + varint(shard), b"\x20" + varint(offset), b"\x28" + varint(size)),
            b"\x35" + struct.pack("<I", checksum),
        ]
    )


def checkpoint(folder, index, data=DATA):
    folder.mkdir(exist_ok=True)
    (folder / "model.index").write_bytes(index)
    (folder / "model.data-00000-of-00001").write_bytes(data)
    return folder / "model"


def of_entries(folder, entries, data=DATA):
    content = block(entries)
    return checkpoint(folder, table(content, [(0, len(content) - 5)]), data)


def test_what_the_tests_write_is_read(tmp_path):
    entries = [
        (0, b"", b"\x08\x01"),
        (0, b"a", entry()),
        (1, b"b", entry(offset=8, data=DATA[8:16])),
    ]
    variables = outcome(read_checkpoint, of_entries(tmp_path / "c", entries))
    assert {name: array.shape for name, array in variables.items()} == {"a": (2,), "ab": (2,)}


@fuzz(20)
@given(mutate=mutations())
def test_damaged_indices(tmp_path, mutate):
    """The checksum notices nearly all of them."""
    variables = outcome(read_checkpoint, checkpoint(tmp_path / "c", mutate(INDEX)))
    if variables is not None:
        for name, array in variables.items():
            np.testing.assert_array_equal(array, VARIABLES[name])


@fuzz(20)
@given(mutate=mutations())
def test_damaged_blocks_with_right_checksums(tmp_path, mutate):
    """As a stranger would write them, who computes the checksums afterwards."""
    content = mutate(INDEX[:-48])
    data = content + b"\0"
    content = data + struct.pack("<I", tensorflow._masked_crc(data))
    outcome(read_checkpoint, checkpoint(tmp_path / "c", table(content, [(0, len(content) - 5)])))


@fuzz(20)
@given(
    numbers=st.fixed_dictionaries(
        {},
        optional={
            "shape": st.lists(st.sampled_from([*INTEGERS, 2**70]) | st.integers(0, 4), max_size=70),
            "dtype": st.integers(0, 30),
            "shard": st.sampled_from(INTEGERS),
            "offset": st.sampled_from(INTEGERS),
            "size": st.sampled_from(INTEGERS),
        },
    ),
    name=st.binary(max_size=6) | st.sampled_from([b"a/kernel", b"Adam", b"\xff"]),
    mutate=mutations() | st.none(),
)
def test_entries_of_any_kind(tmp_path, numbers, name, mutate):
    message = entry(**numbers)
    entries = [(0, b"", b"\x08\x01"), (0, b"b" + name, mutate(message) if mutate else message)]
    variables = outcome(read_checkpoint, of_entries(tmp_path / "c", entries))
    if variables:
        outcome(to_state_dict, variables, DENOISING)


@fuzz(10)
@given(message=st.binary(max_size=40))
def test_messages_of_any_kind(tmp_path, message):
    outcome(read_checkpoint, of_entries(tmp_path / "c", [(0, b"", message), (0, b"a", message)]))


def bombs():
    yield "endless integer", table(block([(0, b"", b"\xff" * 2**21)]), [(0, 2**21 + 20)])
    endless = block([(0, b"", b"\x08\x01"), (0, b"a", b"\x20" + b"\xff" * 2**21)])
    yield "endless offset", table(endless, [(0, len(endless) - 5)])
    footer = b"\xff" * 40 + struct.pack("<Q", tensorflow.TABLE_MAGIC)
    yield "endless footer", footer
    content = block([(0, b"k%06d" % n, bytes(90)) for n in range(20_000)])
    yield "one block many times", table(content, [(0, len(content) - 5)] * 2000)
    keys = [(0, b"k" * 2**19, b"")] + [(2**19, b"%d" % n, b"") for n in range(20_000)]
    content = block(keys)
    yield "long keys that share", table(content, [(0, len(content) - 5)])
    content = block([(0, b"a", entry(shape=(2**40,), size=2**42))])
    yield "a huge variable", table(content, [(0, len(content) - 5)])
    same = [
        (0, b"%06d" % n, entry((len(DATA),), 3, 0, 0, len(DATA), data=DATA)) for n in range(9000)
    ]
    content = block(same)
    yield "the same bytes for all", table(content, [(0, len(content) - 5)])


@pytest.mark.parametrize(("kind", "index"), bombs(), ids=lambda value: str(value)[:20])
def test_bombs_do_not_go_off(tmp_path, kind, index):
    assert "model" in refusal(read_checkpoint, checkpoint(tmp_path / "c", index))


@fuzz(15)
@given(data=st.data())
def test_changed_settings(data):
    settings = data.draw(changed(SETTINGS))
    config = outcome(config_from_reference, settings)
    assert config is None or isinstance(config, NetworkConfig)


@fuzz(10)
@given(
    name=st.sampled_from(sorted(VARIABLES)),
    other=st.text(max_size=12) | st.sampled_from(["/kernel", "encoding_block_" + "9" * 3000]),
    shape=st.lists(st.integers(0, 5), max_size=6),
)
def test_variables_of_other_names_and_shapes(name, other, shape):
    variables = {key: value for key, value in VARIABLES.items() if key != name}
    variables[f"{name}{other}"] = np.zeros(shape, "f4")
    expected = config_from_reference(SETTINGS)
    state = outcome(to_state_dict, variables, expected)
    assert state is None or shape == list(VARIABLES[name].shape)


@fuzz(10)
@given(content=st.binary(max_size=30) | st.sampled_from([b"[" * 10**5, b"9" * 5000, b"{}", b"[]"]))
def test_settings_that_are_no_settings(tmp_path, content):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    settings = outcome(read_config, path)
    if settings is not None:
        assert outcome(config_from_reference, settings) is None
