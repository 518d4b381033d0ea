"""What a run folder holds, beside the checkpoint: see `gvtzoo.training.train`.

Every file is written under another name and renamed, so that a killed training leaves whole
files behind.
"""

from __future__ import annotations

import csv
import json
import platform
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.files import sha256_of, write_atomically
from gvtzoo.packages.run_folder import load_weights as load_weights
from gvtzoo.recipes.recipe import Recipe, to_yaml
from gvtzoo.training.data.images import TrainingImage, target_box

METRICS = ("step", "loss", "val_loss", "learning_rate")
EXAMPLE_SIZE = {2: (256, 256), 3: (32, 128, 128)}
MOST_CHANNELS = 4  # of an example of that size; others get a quarter of it
MOST_NAMES = 1000  # images that are listed one by one
ASIDE = "attempt_*"  # folders of a fine-tuning's attempts that did not help


def is_taken(run: Path) -> bool:
    """Whether a training has begun in a folder, or it holds something else."""
    return run.is_dir() and any(not path.match(ASIDE) for path in run.iterdir())


def save_weights(network: torch.nn.Module, path: Path, mantissa_bits: int | None = None) -> None:
    """The network's state dict as safetensors, written atomically.

    Parameters
    ----------
    network : nn.Module
    path : Path
    mantissa_bits : int, optional
        Binary digits behind the first that float32 weights are rounded to.
    """
    from safetensors.torch import save_file

    state = {name: tensor.contiguous().cpu() for name, tensor in network.state_dict().items()}
    if mantissa_bits is not None:
        state = {name: round_mantissa(tensor, mantissa_bits) for name, tensor in state.items()}
    with write_atomically(path) as temporary:
        save_file(state, temporary)


def round_mantissa(tensor: torch.Tensor, bits: int) -> torch.Tensor:
    """Finite float32 numbers rounded to `bits` binary digits behind the first; others as they are.

    What is left over are zeros, which a zip file does not need space for.
    """
    dropped = 23 - bits
    if tensor.dtype != torch.float32 or dropped == 0:
        return tensor
    integers = tensor.view(torch.int32) + (1 << (dropped - 1))
    return ((integers >> dropped) << dropped).view(torch.float32)


def read_metrics(path: Path) -> list[dict[str, str]]:
    """The rows of a ``metrics.csv``; none where there is no file.

    Raises
    ------
    GvtzooError
        When it is damaged.
    """
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (csv.Error, UnicodeDecodeError) as error:
        raise GvtzooError(f"{path} is damaged: {error}") from error


def write_metrics(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """A ``metrics.csv``."""
    with write_atomically(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, METRICS)
        writer.writeheader()
        writer.writerows(rows)


def write_json(path: Path, content: Any) -> None:
    """Content as indented JSON."""
    with write_atomically(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def describe_run(
    run: Path,
    recipe: Recipe,
    training: Sequence[TrainingImage],
    validation: Sequence[TrainingImage],
) -> None:
    """Write everything that is known before the first step.

    Parameters
    ----------
    run : Path
    recipe : Recipe
    training, validation : sequence of TrainingImage
    """
    import lightning

    from gvtzoo.core.version import __version__

    with write_atomically(run / "recipe.yaml") as temporary:
        temporary.write_text(to_yaml(recipe), encoding="utf-8")
    splits = {"train": training, "val": validation}
    write_json(run / "data.json", {split: _list(images) for split, images in splits.items()})
    versions = {
        "gvtzoo": __version__,
        "torch": torch.__version__,
        "lightning": lightning.__version__,
        "python": platform.python_version(),
    }
    write_json(run / "versions.json", versions)
    example = (*validation, *training)[0]
    write_json(run / "pixel_size.json", dict(example.calibration))
    _write_example(run, example, recipe.network.dimensions, recipe.training.seed)


def _list(images: Sequence[TrainingImage]) -> dict[str, Any]:
    """Names and shapes of images, and the hashes of their files."""
    files = dict.fromkeys(path for image in images for path in image.files)
    return {
        "count": len(images),
        "images": [
            {"name": image.name, "shape": list(image.shape)} for image in images[:MOST_NAMES]
        ],
        "files": [{"path": str(path), "sha256": sha256_of(path)} for path in files],
    }


def _write_example(run: Path, image: TrainingImage, dimensions: int, seed: int) -> None:
    source, target = image.raw(np.random.default_rng(seed))
    sizes = EXAMPLE_SIZE[dimensions]
    if len(source) > MOST_CHANNELS:
        sizes = (*sizes[:-2], sizes[-2] // 2, sizes[-1] // 2)
    box = _brightest_box(target, source.shape[1:], sizes)
    with write_atomically(run / "example.npz") as temporary:
        np.savez_compressed(
            temporary,
            source=source[(slice(None), *box)],
            target=target[(slice(None), *target_box(box, target))],
        )


def _brightest_box(
    target: np.ndarray, shape: tuple[int, ...], sizes: tuple[int, ...]
) -> tuple[slice, ...]:
    """Slices of a source of this shape, where its target (channel, …) varies most."""
    sizes = tuple(min(pair) for pair in zip(sizes, shape, strict=True))
    boxes = [
        tuple(slice(start, start + size) for start, size in zip(starts, sizes, strict=True))
        for starts in product(
            *(
                range(0, length - size + 1, max(1, size // 2))
                for length, size in zip(shape, sizes, strict=True)
            )
        )
    ]
    return max(boxes, key=lambda box: float(target[(slice(None), *target_box(box, target))].std()))
