"""Makes the data folder that denoising/generalist trains on, out of four clean stacks.

    python zoo/gvtnet-denoising-3d/prepare.py NUCLEI STACKS -o DATA

NUCLEI holds nuclei.tif (channel 1 of scikit-image's `cells3d`), STACKS ovule_membranes.tif
(PlantSeg's tests), pollen.tif (the Python package sdeconv) and neuron.tif (flowdec). DATA/train
and DATA/val get a part each; the nuclei's rows from 192 on stay unseen, for tests.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import tifffile

# Axis, and half-open ranges along it: voxels between the two belong to none.
PARTS: dict[str, tuple[int, dict[str, slice]]] = {
    "nuclei": (1, {"train": slice(0, 144), "val": slice(152, 184)}),
    "ovule_membranes": (2, {"train": slice(0, 96), "val": slice(100, 128)}),
    "pollen": (2, {"train": slice(0, 208), "val": slice(216, 256)}),
    "neuron": (2, {"train": slice(0, 208), "val": slice(216, 256)}),
}


def main() -> None:
    """Cut and write the stacks."""
    parser = argparse.ArgumentParser()
    parser.add_argument("nuclei", type=Path)
    parser.add_argument("stacks", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    for name, (axis, parts) in PARTS.items():
        folder = arguments.nuclei if name == "nuclei" else arguments.stacks
        stack = tifffile.imread(folder / f"{name}.tif")
        for split, part in parts.items():
            box = tuple(part if number == axis else slice(None) for number in range(3))
            path = arguments.output / split / f"{name}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            part_of_stack = np.ascontiguousarray(stack[box])
            tifffile.imwrite(path, part_of_stack, imagej=True, metadata={"axes": "ZYX"})


if __name__ == "__main__":
    main()
