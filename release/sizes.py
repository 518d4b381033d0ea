"""Tries a package's TorchScript and ONNX at many sizes, against PyTorch.

    python release/sizes.py NAME... --sizes 17 1030 --tries 24

prints, for each model, the largest difference of either format as a fraction of PyTorch's range.
Sides are drawn between the two sizes, the smallest and the largest among them; those of volumes are
cut so that no try has more than --voxels.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator

import numpy as np
import onnxruntime
import torch

from gvtzoo.hub.registry import bundled_models
from gvtzoo.networks.any_size import AnySize
from gvtzoo.packages.reader import ModelPackage, open_package

SEED = 0
FORMATS = ("torchscript", "onnx")


def main() -> None:
    """Print a line for each model."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="+")
    parser.add_argument("--sizes", nargs=2, type=int, default=(17, 1030))
    parser.add_argument("--tries", type=int, default=24)
    parser.add_argument("--voxels", type=int, default=2_000_000)
    arguments = parser.parse_args()
    for name in arguments.names:
        package = open_package(bundled_models()[name])
        found = dict.fromkeys(FORMATS, 0.0)
        for shape in shapes(package, *arguments.sizes, arguments.tries, arguments.voxels):
            for kind, difference in differences(package, shape).items():
                found[kind] = max(found[kind], difference)
        print(name, *(f"{kind} {found[kind]:.1e}" for kind in FORMATS), sep="  ", flush=True)


def shapes(
    package: ModelPackage, low: int, high: int, tries: int, voxels: int
) -> Iterator[tuple[int, ...]]:
    """Shapes of one image (batch, channel, (z,) y, x)."""
    generator = np.random.default_rng(SEED)
    config = package.config.network
    for number in range(tries):
        plane = (low, high) if number == 0 else generator.integers(low, high + 1, 2)
        yx = [int(size) for size in plane]
        if config.dimensions == 3:
            deepest = max(low, min(high, voxels // (yx[0] * yx[1])))
            depth = int(generator.integers(low, deepest + 1))
            yx[0] = max(low, min(yx[0], voxels // (depth * yx[1])))
            yield (1, config.input_channels, depth, *yx)
        else:
            yield (1, config.input_channels, *yx)


def differences(package: ModelPackage, shape: tuple[int, ...]) -> dict[str, float]:
    """Of either format, at one shape, as a fraction of the range of PyTorch's output."""
    image = np.random.default_rng(SEED).random(shape, np.float32)
    weights = package.rdf["weights"]
    files = {kind: package.read(weights[kind]["source"]) for kind in FORMATS}
    network = AnySize(package.build_network()).eval()
    session = onnxruntime.InferenceSession(files["onnx"], providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = network(torch.from_numpy(image)).numpy()
        script = torch.jit.load(io.BytesIO(files["torchscript"]))(torch.from_numpy(image)).numpy()
    onnx = session.run(None, {session.get_inputs()[0].name: image})[0]
    span = float(np.ptp(expected)) or 1.0
    return {
        kind: float(np.abs(result - expected).max()) / span
        for kind, result in (("torchscript", script), ("onnx", onnx))
    }


if __name__ == "__main__":
    main()
