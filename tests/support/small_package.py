"""A package of a small network: the files that gvtzoo reads, without the exports."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors.torch import save
from small_networks import FLAT as NETWORK

from gvtzoo.images.normalization import NormalizationConfig
from gvtzoo.packages.config import MetricRow, PackageConfig, TilingHint
from gvtzoo.recipes.metadata import Author, ModelMetadata

CONFIG = PackageConfig(
    task="denoising",
    network=NETWORK,
    normalization=NormalizationConfig(),
    metadata=ModelMetadata(
        id="small-model",
        name="Small model",
        description="For tests.",
        authors=(Author(name="A. Uthor"),),
    ),
    metrics=(MetricRow(data="blobs", method="GVTNet", SSIM=0.9),),
    tiling=TilingHint(tile=(64, 64), halo=(8, 8)),
    pixel_size={"y": 0.1, "x": 0.1},
    unit="micrometer",
)


def weights() -> dict[str, torch.Tensor]:
    """The same every time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return NETWORK.build().state_dict()


def members() -> dict[str, bytes]:
    """The package's files, by name."""
    state = weights()
    pickled = io.BytesIO()
    torch.save(state, pickled)
    files = {
        "weights.safetensors": save(state),
        "weights.pt": pickled.getvalue(),
        "test_input.npy": npy(np.ones((1, 1, 8, 8), np.float32)),
        "test_output.npy": npy(np.zeros((1, 1, 8, 8), np.float32)),
    }
    return {"rdf.yaml": to_yaml(description(files)), **files}


def description(files: dict[str, bytes]) -> dict[str, Any]:
    """What ``rdf.yaml`` says of these files."""
    return {
        "format_version": "0.5.9",
        "id": "small-model",
        "inputs": [{"id": "input", "test_tensor": _entry(files, "test_input.npy")}],
        "outputs": [{"id": "output", "test_tensor": _entry(files, "test_output.npy")}],
        "weights": {"pytorch_state_dict": _entry(files, "weights.pt")},
        "attachments": [_entry(files, "weights.safetensors")],
        "config": {"gvtzoo": CONFIG.model_dump(mode="json")},
    }


def _entry(files: dict[str, bytes], name: str) -> dict[str, str]:
    return {"source": name, "sha256": hashlib.sha256(files[name]).hexdigest()}


def described(files: dict[str, bytes]) -> dict[str, bytes]:
    """Files with a description that has their checksums."""
    return {**files, "rdf.yaml": to_yaml(description(files))}


def without_safetensors(files: dict[str, bytes]) -> dict[str, bytes]:
    """The same with the pickled weights as the only ones."""
    content = description(files)
    del content["attachments"]
    kept = {name: data for name, data in files.items() if name != "weights.safetensors"}
    return {**kept, "rdf.yaml": to_yaml(content)}


def to_yaml(content: Any) -> bytes:
    """As the writer of packages does, without aliases."""
    return yaml.dump(content, Dumper=_NoAliases, sort_keys=False, allow_unicode=True).encode(
        "utf-8", "surrogatepass"
    )


class _NoAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def npy(array: np.ndarray) -> bytes:
    """An npy file's content."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    """The files in a folder, and nothing else in it."""
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def zipped(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """The files as a zip."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", compression) as file:
        for name, content in files.items():
            file.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), content, compression)
    return archive.getvalue()
