"""Packages as other programs make them: tiny networks, described with bioimageio.spec."""

from __future__ import annotations

import hashlib
import json
import textwrap
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

FORMATS = ("torchscript", "onnx", "pytorch_state_dict")
ARCHITECTURE = '''
from pathlib import Path

import torch

{effect}


class Blur(torch.nn.Module):
    """Mean over 3 voxels a side, then every output channel adds its number."""

    def __init__(self, dimensions, channels, outputs):
        super().__init__()
        kind = torch.nn.Conv3d if dimensions == 3 else torch.nn.Conv2d
        self.layer = kind(channels, outputs, 3, padding=1)
        torch.nn.init.constant_(self.layer.weight, 1 / (channels * 3**dimensions))
        self.layer.bias.data = torch.arange(outputs, dtype=torch.float32)

    def forward(self, x):
        return self.layer(x)
'''


def blur(dimensions: int, channels: int, outputs: int) -> torch.nn.Module:
    scope: dict[str, Any] = {}
    exec(ARCHITECTURE.format(effect=""), scope)
    return scope["Blur"](dimensions, channels, outputs).eval()


def make_package(
    path: Path,
    *,
    dimensions: int = 2,
    channels: int = 1,
    outputs: int = 1,
    formats: Sequence[str] = FORMATS,
    halo: int = 0,
    size: int | tuple[int, int] = (8, 4),
    network: torch.nn.Module | None = None,
    scale: float = 1.0,
    flat: bool = False,
    percentiles: bool = False,
    effect: Path | None = None,
    custom: Path | None = None,
    old: bool = False,
) -> Path:
    """A zip; `size` is (min, step) or fixed; `effect` is written where its code runs."""
    folder = path.with_suffix("")
    folder.mkdir()
    network = network or blur(dimensions, channels, outputs)
    least = size if isinstance(size, int) else size[0] + 2 * size[1]
    example = np.random.default_rng(0).random((1, channels, *(least,) * dimensions), np.float32)
    with torch.no_grad():
        result = network(torch.from_numpy(example)).numpy()
    np.save(folder / "test_input.npy", example)
    shown = result
    if percentiles:
        low, high = np.percentile(example, (1, 99))
        with torch.no_grad():
            normalized = torch.from_numpy((example - low) / (high - low + 1e-6))
            shown = network(normalized.float()).numpy()
    np.save(folder / "test_output.npy", shown)
    _save_weights(folder, network, example, formats, effect)
    (folder / "README.md").write_text("# Tiny\n\n## Validation\n\nNone.\n")
    if custom is not None:
        (folder / "steps.py").write_text(
            textwrap.dedent(f"""
            from pathlib import Path

            Path({str(custom)!r}).touch()

            def make():
                return lambda array: array
            """)
        )
    make = _rdf_04 if old else _rdf_05
    rdf = make(folder, dimensions, channels, result.shape[1], formats, halo, size, scale, flat)
    if percentiles:
        axes = "zyx"[-dimensions:]
        kwargs: dict[str, Any] = {"min_percentile": 1, "max_percentile": 99}
        kwargs["axes"] = "c" + axes if old else ["channel", *axes]
        if old:
            kwargs["mode"] = "per_sample"
        step = {"name" if old else "id": "scale_range", "kwargs": kwargs}
        rdf["inputs"][0]["preprocessing"] = [step]
    if custom is not None:
        rdf["outputs"][0]["postprocessing"] = [
            {"id": "custom", **_file(folder, "steps.py"), "callable": "make", "kwargs": {}}
        ]
    return _save(folder, rdf, path)


def _save_weights(
    folder: Path, network: torch.nn.Module, example: np.ndarray, formats: Any, effect: Path | None
) -> None:
    tensor = torch.from_numpy(example)
    if "torchscript" in formats:
        torch.jit.trace(network, tensor).save(str(folder / "torchscript.pt"))
    if "onnx" in formats:
        axes = {n: f"s{n}" for n in range(tensor.ndim) if n != 1}
        torch.onnx.export(
            network,
            (tensor,),
            str(folder / "weights.onnx"),
            dynamo=False,
            input_names=["x"],
            output_names=["y"],
            dynamic_axes={"x": axes, "y": axes},
        )
    if "pytorch_state_dict" in formats:
        torch.save(network.state_dict(), folder / "weights.pt")
        line = f"Path({str(effect)!r}).touch()" if effect else ""
        (folder / "network.py").write_text(ARCHITECTURE.format(effect=line))


def _file(folder: Path, name: str) -> dict[str, str]:
    return {
        "source": name,
        "sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest(),
    }


def _weights(folder: Path, formats: Any, network: dict[str, int], old: bool) -> dict[str, Any]:
    version = torch.__version__.split("+")[0]
    entries: dict[str, Any] = {}
    if "pytorch_state_dict" in formats:
        entries["pytorch_state_dict"] = {
            **_file(folder, "weights.pt"),
            "pytorch_version": version,
        }
        code = _file(folder, "network.py")
        if old:
            entries["pytorch_state_dict"] |= {
                "architecture": "network.py:Blur",
                "architecture_sha256": code["sha256"],
                "kwargs": network,
            }
        else:
            entries["pytorch_state_dict"]["architecture"] = {
                **code,
                "callable": "Blur",
                "kwargs": network,
            }
    more = {"parent": "pytorch_state_dict"} if entries else {}
    if "torchscript" in formats:
        entries["torchscript"] = {
            **_file(folder, "torchscript.pt"),
            "pytorch_version": version,
            **more,
        }
    if "onnx" in formats:
        parent = {"parent": next(iter(entries))} if entries else {}
        entries["onnx"] = {**_file(folder, "weights.onnx"), "opset_version": 17, **parent}
    return entries


def _common(version: str) -> dict[str, Any]:
    return {
        "format_version": version,
        "type": "model",
        "name": "Tiny foreign model",
        "description": "Blurs.",
        "authors": [{"name": "A. Stranger"}],
        "cite": [{"text": "A. Stranger, 2020", "url": "https://example.org/paper"}],
        "license": "MIT",
        "tags": ["tiny"],
        "documentation": "README.md",
        "timestamp": "2024-01-01T00:00:00",
    }


def _rdf_05(
    folder: Path,
    dimensions: int,
    channels: int,
    outputs: int,
    formats: Any,
    halo: int,
    size: Any,
    scale: float,
    flat: bool,
) -> dict[str, Any]:
    names, result = "zyx"[-dimensions:], "zyx"[-dimensions:]
    if flat:
        result = names[1:]
    stated = size if isinstance(size, int) else {"min": size[0], "step": size[1]}

    def channel(count: int) -> list[dict[str, Any]]:
        named = [f"channel{n}" for n in range(count)]
        return [{"type": "batch"}, {"type": "channel", "channel_names": named}]

    outer = {"halo": halo} if halo else {}
    return {
        **_common("0.5.4"),
        "id": "tiny-stranger",
        "inputs": [
            {
                "id": "raw",
                "axes": [
                    *channel(channels),
                    *({"type": "space", "id": name, "size": stated} for name in names),
                ],
                "test_tensor": _file(folder, "test_input.npy"),
                "data": {"type": "float32"},
            }
        ],
        "outputs": [
            {
                "id": "blurred",
                "axes": [
                    *channel(outputs),
                    *(
                        {
                            "type": "space",
                            "id": name,
                            "size": {"tensor_id": "raw", "axis_id": name},
                            "scale": 1 / scale,
                            **outer,
                        }
                        for name in result
                    ),
                ],
                "test_tensor": _file(folder, "test_output.npy"),
                "data": {"type": "float32"},
            }
        ],
        "weights": _weights(
            folder,
            formats,
            {"dimensions": dimensions, "channels": channels, "outputs": outputs},
            False,
        ),
    }


def _rdf_04(
    folder: Path,
    dimensions: int,
    channels: int,
    outputs: int,
    formats: Any,
    halo: int,
    size: Any,
    scale: float,
    flat: bool,
) -> dict[str, Any]:
    axes = "bc" + "zyx"[-dimensions:]
    space = [size[0]] * dimensions
    return {
        **_common("0.4.10"),
        "test_inputs": ["test_input.npy"],
        "test_outputs": ["test_output.npy"],
        "inputs": [
            {
                "name": "raw",
                "axes": axes,
                "data_type": "float32",
                "shape": {
                    "min": [1, channels, *space],
                    "step": [0, 0, *([size[1]] * dimensions)],
                },
            }
        ],
        "outputs": [
            {
                "name": "blurred",
                "axes": axes,
                "data_type": "float32",
                "halo": [0, 0, *([halo] * dimensions)],
                "shape": {
                    "reference_tensor": "raw",
                    "scale": [1, outputs / channels, *([scale] * dimensions)],
                    "offset": [0] * (dimensions + 2),
                },
            }
        ],
        "weights": _weights(
            folder,
            formats,
            {"dimensions": dimensions, "channels": channels, "outputs": outputs},
            True,
        ),
    }


def _save(folder: Path, rdf: dict[str, Any], path: Path) -> Path:
    """Checked with bioimageio.spec, and zipped."""
    from bioimageio.spec import InvalidDescr, ValidationContext, build_description

    context = ValidationContext(root=folder, perform_io_checks=False, log_warnings=False)
    description = build_description(rdf, context=context)
    assert not isinstance(description, InvalidDescr), description.validation_summary.format()
    (folder / "rdf.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(rdf)), sort_keys=False))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)
    return path
