"""Checkpoints like the sixteen published ones: their variables' names and shapes, random weights.

The golden checkpoints are the reference implementation's with 8 instead of 32 first feature maps,
so the published shapes are theirs with four times the channels. (A projection network has 8
features in both.) `write_checkpoint` writes the format that `gvtzoo.packages.tensorflow` reads:
see there for what it consists of.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

import google_crc32c
import numpy as np

from gvtzoo.hub.index import read_index
from gvtzoo.packages.tensorflow import NOT_WEIGHTS, read_checkpoint

GOLDEN = Path(__file__).parent.parent / "golden"
CASES = {"label_free": "label_free", "denoising": "denoise", "projection": "projection"}
WIDER = 32 // 8
PREFIX = "model.ckpt-pretrained"

TABLE_MAGIC = 0xDB4775248B80FB57
BLOCK_BYTES = 2**18  # as TensorFlow writes them
RESTART_INTERVAL = 16  # a key is stored whole every so often
FLOAT, INT64 = 1, 9


def published_variables(task: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Random variables with the names and shapes of a published model's, optimizer's included."""
    generator = np.random.default_rng(seed)
    golden = read_checkpoint(GOLDEN / CASES[task])
    variables = {name: _like(name, values, generator) for name, values in golden.items()}
    for name, values in list(variables.items()):
        if not NOT_WEIGHTS.search(name) and "/moving_" not in name:
            slots = (f"{name}/Adam", f"{name}/Adam_1")
            variables |= {slot: np.full_like(values, 1e-3) for slot in slots}
    powers = {name: np.float32(0.5).reshape(()) for name in ("beta1_power", "beta2_power")}
    return powers | variables


def parameter_count(variables: Mapping[str, np.ndarray]) -> int:
    """How many trained numbers there are: neither the optimizer's nor moving statistics."""
    return sum(
        values.size
        for name, values in variables.items()
        if not NOT_WEIGHTS.search(name) and "/moving_" not in name
    )


def _like(name: str, values: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    if values.ndim == 0:
        return values
    shape = list(values.shape)
    channels = shape[-2:] if values.ndim > 1 else shape[-1:]
    if not name.startswith("projection/"):
        channels = [size if size == 1 else WIDER * size for size in channels]
    shape[-len(channels) :] = channels
    if name.endswith(("gamma", "moving_variance")):
        return generator.uniform(0.8, 1.2, shape).astype(np.float32)
    spread = 0.1 if values.ndim == 1 else np.prod(shape[:-1]) ** -0.5
    return generator.normal(0, spread, shape).astype(np.float32)


def write_published(save_dir: Path, names: Iterable[str] | None = None) -> dict[str, Path]:
    """Checkpoints of published models, laid out like the authors' ``save_dir``; folders by name."""
    folders = {}
    for number, entry in enumerate(read_index().values()):
        if entry.checkpoint is None or (names is not None and entry.id not in names):
            continue
        folders[entry.id] = save_dir / entry.checkpoint.folder
        write_checkpoint(
            folders[entry.id] / PREFIX, published_variables(entry.network, seed=number)
        )
    return folders


def write_checkpoint(prefix: Path, variables: Mapping[str, np.ndarray]) -> None:
    """Two files: the variables' bytes, one behind the other, and the table that finds them."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    entries = {b"": _varint_field(1, 1) + _bytes_field(3, _varint_field(1, 1))}
    offset = 0
    with Path(f"{prefix}.data-00000-of-00001").open("wb") as data:
        for name, values in sorted(variables.items()):
            stored = values.tobytes()
            entries[name.encode()] = _entry(values, offset, stored)
            offset += data.write(stored)
    Path(f"{prefix}.index").write_bytes(_table(entries))


def _entry(values: np.ndarray, offset: int, stored: bytes) -> bytes:
    dtype = {np.dtype("<f4"): FLOAT, np.dtype("<i8"): INT64}[values.dtype]
    shape = b"".join(_bytes_field(2, _varint_field(1, size)) for size in values.shape)
    return (
        _varint_field(1, dtype)
        + _bytes_field(2, shape)
        + (_varint_field(4, offset) if offset else b"")
        + _varint_field(5, len(stored))
        + _varint(6 << 3 | 5)
        + struct.pack("<I", _masked_crc(stored))
    )


def _table(entries: Mapping[bytes, bytes]) -> bytes:
    table, index = b"", {}
    block: dict[bytes, bytes] = {}
    size = 0
    for key, value in sorted(entries.items()):
        block[key] = value
        size += len(key) + len(value)
        if size > BLOCK_BYTES:
            table, index[key] = _append(table, block)
            block, size = {}, 0
    if block:
        # Behind the last block LevelDB writes the shortest key that comes after all of it.
        table, index[bytes([max(block)[0] + 1])] = _append(table, block)
    table, metaindex_handle = _append(table, {})
    table, index_handle = _append(table, index)
    handles = metaindex_handle + index_handle
    return table + handles.ljust(40, b"\0") + struct.pack("<Q", TABLE_MAGIC)


def _append(table: bytes, entries: Mapping[bytes, bytes]) -> tuple[bytes, bytes]:
    """The table with one block more, and the block's handle: its offset and size."""
    block, restarts, last = b"", [], b""
    for number, (key, value) in enumerate(entries.items()):
        shared = 0
        if number % RESTART_INTERVAL == 0:
            restarts.append(len(block))
        else:
            while shared < min(len(key), len(last)) and key[shared] == last[shared]:
                shared += 1
        block += _varint(shared) + _varint(len(key) - shared) + _varint(len(value))
        block += key[shared:] + value
        last = key
    restarts = restarts or [0]
    block += struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))
    not_compressed = b"\0"
    trailer = not_compressed + struct.pack("<I", _masked_crc(block + not_compressed))
    return table + block + trailer, _varint(len(table)) + _varint(len(block))


def _varint(value: int) -> bytes:
    content = b""
    while value >= 0x80:
        content += bytes([value & 0x7F | 0x80])
        value >>= 7
    return content + bytes([value])


def _varint_field(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _bytes_field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _masked_crc(content: bytes) -> int:
    crc = google_crc32c.value(content)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
