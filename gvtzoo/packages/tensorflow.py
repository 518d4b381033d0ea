"""Weights of the reference implementation: TensorFlow V2 checkpoints, read without TensorFlow.

A checkpoint is two files. ``PREFIX.index`` is a LevelDB table: blocks of prefix-compressed keys
(variable names) and values (``BundleEntryProto``: type, shape, offset, size, checksum), an index
block that finds them, and a 48-byte footer that finds the index block. ``PREFIX.data-…`` holds
the variables' bytes. That is little enough to read here; TensorFlow would be a dependency of
500 MB, with its own limits on Python and NumPy versions, for this one function.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from gvtzoo.core.errors import GvtzooError
from gvtzoo.networks.config import AttentionConfig, AttentionConfigs, NetworkConfig

if TYPE_CHECKING:
    import torch

FOOTER_BYTES = 48
TABLE_MAGIC = 0xDB4775248B80FB57
BLOCK_TRAILER_BYTES = 5  # compression type and checksum
LARGEST_SHIFT = 63  # of an integer of 64 bits
LONGEST_NAME = 2**12  # bytes
VARINT, BYTES, FIXED32 = 0, 2, 5  # protobuf wire types
DTYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype("<f4"),
    2: np.dtype("<f8"),
    3: np.dtype("<i4"),
    9: np.dtype("<i8"),
}
CRC_MASK_DELTA = 0xA282EAD8

NOT_WEIGHTS = re.compile(r"(^|/)(Adam(_\d+)?|beta[12]_power(_\d+)?|global_step)$")


def find_checkpoint(path: str | Path) -> Path:
    """The prefix of a checkpoint, from its prefix or from the folder it lies in.

    Raises
    ------
    GvtzooError
        When there is none, or several.
    """
    path = Path(path)
    if Path(f"{path}.index").is_file():
        return path
    if path.name.endswith(".index") and path.is_file():
        return path.with_suffix("")
    found = sorted(path.glob("*.index")) if path.is_dir() else []
    if len(found) == 1:
        return found[0].with_suffix("")
    if found:
        names = ", ".join(file.stem for file in found)
        raise GvtzooError(f"{path} holds several checkpoints ({names}): name one of them")
    raise GvtzooError(f"no TensorFlow checkpoint at {path}: there is no {path}.index")


def read_checkpoint(path: str | Path) -> dict[str, np.ndarray]:
    """Every variable of a TensorFlow V2 checkpoint.

    Parameters
    ----------
    path : path
        The checkpoint's prefix (``…/model.ckpt-pretrained``) or its folder.

    Returns
    -------
    dict of str to ndarray
        Variables by name, as stored.

    Raises
    ------
    GvtzooError
        When files are missing, damaged (checksums), or of a kind that is not read.
    """
    prefix = find_checkpoint(path)
    index = Path(f"{prefix}.index").read_bytes()
    try:
        entries = dict(_table(index))
        header = dict(_fields(entries.pop(b"", b"")))
        return _read_variables(prefix, entries, header.get(1, 1))
    except GvtzooError:
        raise
    except (LookupError, OverflowError, TypeError, ValueError, struct.error) as error:
        raise GvtzooError(f"{prefix}.index is damaged or not a TensorFlow V2 index") from error


def _read_variables(
    prefix: Path, entries: Mapping[bytes, bytes], shards: int
) -> dict[str, np.ndarray]:
    data: dict[int, bytes] = {}
    variables: dict[str, np.ndarray] = {}
    unread = 0
    for key, value in entries.items():
        name, entry = key.decode(), _Entry.parse(value)
        if entry.shard not in data:
            file = Path(f"{prefix}.data-{entry.shard:05d}-of-{shards:05d}")
            if not file.is_file():
                raise GvtzooError(f"{file} is missing: copy it beside the index")
            data[entry.shard] = file.read_bytes()
            unread += len(data[entry.shard])
        # Variables do not share bytes; else a small file could hold any number of large ones.
        unread -= entry.size
        if unread < 0:
            raise GvtzooError(
                f"{prefix}: variable {name} is damaged, or shares its bytes with others: copy the "
                "checkpoint again"
            )
        stored = data[entry.shard][entry.offset : entry.offset + entry.size]
        if len(stored) != entry.size or _masked_crc(stored) != entry.checksum:
            raise GvtzooError(f"{prefix}: variable {name} is damaged: copy the checkpoint again")
        if entry.dtype not in DTYPES:
            raise GvtzooError(f"{prefix}: variable {name} has the unknown type {entry.dtype}")
        variables[name] = np.frombuffer(stored, DTYPES[entry.dtype]).reshape(entry.shape)
    return variables


@dataclass
class _Entry:
    """A ``BundleEntryProto``."""

    dtype: int = 0
    shape: list[int] = field(default_factory=list)
    shard: int = 0
    offset: int = 0
    size: int = 0
    checksum: int = 0

    @classmethod
    def parse(cls, message: bytes) -> _Entry:
        entry = cls()
        names = {1: "dtype", 3: "shard", 4: "offset", 5: "size", 6: "checksum"}
        for number, value in _fields(message):
            if number in names:
                setattr(entry, names[number], value)
            elif number == 2:
                dimensions = [dict(_fields(v)) for n, v in _fields(value) if n == 2]
                entry.shape = [int(dimension.get(1, 0)) for dimension in dimensions]
        return entry


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """An integer of seven bits a byte, and the position behind it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > LARGEST_SHIFT:
            raise ValueError("endless integer")


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Field numbers and values of a protobuf message."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == VARINT:
            value, at = _varint(message, at)
            yield number, value
        elif wire_type == BYTES:
            size, at = _varint(message, at)
            yield number, message[at : at + size]
            at += size
        elif wire_type == FIXED32:
            yield number, struct.unpack_from("<I", message, at)[0]
            at += 4
        else:
            raise KeyError(wire_type)


def _table(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a LevelDB table."""
    footer = table[-FOOTER_BYTES:]
    if struct.unpack("<Q", footer[-8:])[0] != TABLE_MAGIC:
        raise KeyError("magic")
    _, at = _varint(footer, 0)
    _, at = _varint(footer, at)
    offset, at = _varint(footer, at)
    size, _ = _varint(footer, at)
    unread = len(table)
    for _, handle in _block(table, offset, size):
        block_offset, at = _varint(handle, 0)
        block_size, _ = _varint(handle, at)
        unread -= block_size
        if unread < 0:
            raise ValueError("blocks in each other")
        yield from _block(table, block_offset, block_size)


def _block(table: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of one block; a key repeats only what differs from the one before."""
    block, trailer = table[offset : offset + size], table[offset + size :][:BLOCK_TRAILER_BYTES]
    if trailer[0] != 0:
        raise KeyError("compressed")
    if _masked_crc(block + trailer[:1]) != struct.unpack("<I", trailer[1:])[0]:
        raise KeyError("checksum")
    restarts = struct.unpack("<I", block[-4:])[0]
    end, at, key = len(block) - 4 * (restarts + 1), 0, b""
    while at < end:
        shared, at = _varint(block, at)
        added, at = _varint(block, at)
        length, at = _varint(block, at)
        key = key[:shared] + block[at : at + added]
        at += added
        if len(key) > LONGEST_NAME:
            raise ValueError("endless name")
        yield key, block[at : at + length]
        at += length


def _masked_crc(data: bytes) -> int:
    """CRC-32C, rotated and shifted as LevelDB stores it."""
    import google_crc32c

    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + CRC_MASK_DELTA) & 0xFFFFFFFF


DOWN_SAMPLING = {
    "convolution": "convolution",
    "down_res_block": "residual",
    "down_gto_v1": "gvto_v1",
    "down_gto_v2": "gvto_v2",
}
UP_SAMPLING = {
    "transposed_convolution": "transposed_convolution",
    "up_gto_v1": "gvto_v1",
    "up_gto_v2": "gvto_v2",
}
BOTTOM = {"same_gto": "gvto", "res_block": "residual"}
SKIP = {"add": "add", "concat": "concatenate"}
TASKS = {"label-free": "label_free", "denoise": "denoising", "projection": "projection"}


def config_from_reference(settings: Mapping[str, Any]) -> NetworkConfig:
    """Our configuration, from the reference implementation's (a ``config.json``).

    Parameters
    ----------
    settings : mapping
        With the keys ``task``, ``residual_input``, ``conf_basic_ops``, ``conf_unet``,
        ``conf_attn_same``, ``conf_attn_down`` and ``conf_attn_up``.

    Raises
    ------
    GvtzooError
        When a setting is missing or has a value that the reference does not know, or that no
        network can have.
    """
    try:
        basic, unet = settings["conf_basic_ops"], settings["conf_unet"]
        projection = TASKS[settings["task"]] == "projection"
        return NetworkConfig(
            architecture="projection" if projection else "gvtnet",
            dimensions=3 if projection else int(unet["dimension"][0]),
            depth=unet["depth"],
            features=unet["first_output_filters"],
            encoder_blocks=unet["encoding_block_sizes"],
            downsampling=[DOWN_SAMPLING[name] for name in unet["downsampling"]],
            bottom=[BOTTOM[name] for name in unet["bottom_block"]],
            upsampling=[UP_SAMPLING[name] for name in unet["upsampling"]],
            decoder_blocks=unet["decoding_block_sizes"],
            skip=SKIP[unet["skip_method"]],
            activation=basic["relu_type"],
            batch_norm=basic["use_batch_norm"],
            attention=AttentionConfigs(
                **{
                    place: _attention(settings[f"conf_attn_{place}"])
                    for place in ("same", "down", "up")
                }
            ),
            output_kernel_size=unet["out_kernel_size"],
            output_bias=unet["out_kernel_bias"],
            add_input=settings["residual_input"],
        )
    except ValidationError as error:
        first = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise GvtzooError(f"the reference configuration is not valid: {first}") from error
    except (IndexError, TypeError, ValueError) as error:
        raise GvtzooError(f"the reference configuration is not valid: {error}") from error
    except KeyError as error:
        raise GvtzooError(
            f"the reference configuration lacks, or has an unknown value, {error}"
        ) from error


def _attention(settings: Mapping[str, Any]) -> AttentionConfig:
    return AttentionConfig(
        heads=settings["num_heads"],
        key_ratio=settings["key_ratio"],
        value_ratio=settings["value_ratio"],
        softmax=settings["use_softmax"],
        bias=settings["use_bias"],
        dropout=settings["dropout_rate"],
    )


# In this order; the reference's name of a module, and ours.
MODULES = [
    (r"^projection/Conv_down_(\d+)/", r"projection.down.\1.1.convolution."),
    (r"^projection/Bottom_(\d+)/", r"projection.bottom.\1."),
    (r"^projection/Conv_bottom_(\d+)/", r"projection.bottom_convolutions.\1.1.convolution."),
    (r"^projection/Conv_final/", r"projection.output_convolution.convolution."),
    (r"^first_convolution/", r"first_convolution.convolution."),
    (r"^bottom_block/block_(\d+)/", r"bottom.\1."),
    (r"/res_(\d+)/", r".blocks.\1."),
    (r"/downsampling/", r".downsampling."),
    (r"/upsampling/", r".upsampling."),
    (r"^batch_norm_output/", r"output_activation.norm."),
    (r"^(output_convolution|out_conv)/", r"output_convolution.convolution."),
    (r"^out_sigma_conv/", r"sigma_convolution.convolution."),
    (r"attention/q_transform/", r"query.convolution."),
    (r"attention/k_transform/", r"key.convolution."),
    (r"attention/v_transform/", r"value.convolution."),
    (r"attention/out_transform/", r"output.convolution."),
    (r"projection_shortcut/", r"shortcut.convolution."),
    (r"sampling\.(transposed_)?convolution/", r"sampling.convolution."),
    (r"convolution_(\d)/", r"convolution_\1.convolution."),
    (r"batch_norm_(\d)/", r"activation_\1.norm."),
    (r"batch_norm/", r"activation.norm."),
]
PARAMETERS = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def parameter_name(variable: str, config: NetworkConfig) -> str:
    """The name in our state dict of one of the reference's variables."""
    module, _, parameter = variable.rpartition("/")
    name = f"{module}/"
    for pattern, replacement in MODULES:
        name = re.sub(pattern, replacement, name)
    # The reference counts levels from the image down, our decoders go from the bottom up.
    last = config.depth - 1
    for pattern, place in (
        (r"^encoding_block_(\d+)", lambda m: f"encoder.{int(m[1]) - 1}"),
        (r"^decoding_block_(\d+)", lambda m: f"decoder.{last - int(m[1])}"),
        (
            r"^projection/Upsample_(\d+)/",
            lambda m: f"projection.upsampling.{last - 1 - int(m[1])}.",
        ),
        (
            r"^projection/Conv_up_(\d+)/",
            lambda m: f"projection.up.{last - 1 - int(m[1])}.1.convolution.",
        ),
    ):
        name = re.sub(pattern, place, name)
    if config.architecture == "projection" and not name.startswith("projection."):
        name = f"network.{name}"
    return name + PARAMETERS.get(parameter, parameter)


def to_state_dict(
    variables: Mapping[str, np.ndarray], config: NetworkConfig
) -> dict[str, torch.Tensor]:
    """Our state dict, from the reference's variables.

    Optimizer slots, ``global_step`` and beta powers are left aside.

    Parameters
    ----------
    variables : mapping of str to ndarray
        As `read_checkpoint` gives them: kernels are (spatial…, in, out), transposed ones
        (spatial…, out, in), spatial axes in the order (z,) y, x.
    config : NetworkConfig
        Of the network that the variables belong to.

    Raises
    ------
    GvtzooError
        Naming the variables that are missing, have another shape, or are not used.
    """
    import torch

    network = config.build()
    expected = {
        name: tuple(tensor.shape)
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    state, problems = {}, []
    for variable, values in variables.items():
        if NOT_WEIGHTS.search(variable):
            continue
        name = parameter_name(variable, config)
        if variable.endswith("/kernel") and values.ndim >= 2:
            # Both kinds of kernels: ours are (out, in, …), transposed ones (in, out, …).
            values = np.moveaxis(values, (-1, -2), (0, 1))
        if name not in expected:
            problems.append(f"{variable} is not used by this network")
        elif values.shape != expected[name]:
            problems.append(
                f"{variable} has shape {values.shape}, the network needs {expected[name]}"
            )
        else:
            state[name] = torch.from_numpy(np.array(values, np.float32, order="C"))
            del expected[name]
    found = {parameter_name(variable, config) for variable in variables}
    problems += [f"the variable for {name} is missing" for name in expected if name not in found]
    if problems:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise GvtzooError(
            f"the checkpoint does not fit the configuration: {'; '.join(problems[:3])}{more}"
        )
    return state


def has_sigma(variables: Mapping[str, np.ndarray]) -> bool:
    """Whether the checkpoint has an uncertainty head."""
    return "out_sigma_conv/kernel" in variables
