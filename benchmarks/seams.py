"""Where tiles leave seams: a real stack predicted whole, exactly in tiles, and in blocks.

    python benchmarks/seams.py [-o docs/seams.png]

The bundled model denoises its demonstration stack. Printed is the mean difference to the whole
image's prediction, as a share of its range, in the voxels on both sides of a border between two
tiles, and in all others.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

MODEL = "gvtnet-denoising-nuclei"
TILE = (16, 32, 32)
MEMORY = 30_000_000


def main(
    output: Annotated[Path, typer.Option("--output", "-o")] = Path("docs/seams.png"),
) -> None:
    """Print a table in Markdown, and draw it."""
    import gvtzoo
    from gvtzoo.demo import demo_images

    model = gvtzoo.load(MODEL)
    noisy, _ = demo_images()
    whole = model.predict(noisy, tiling="whole").to_numpy()
    tiled = {
        "exact": model.predict(noisy, tiling="exact", memory=MEMORY).to_numpy(),
        "blocks, no overlap": model.predict(
            noisy, tiling="blocks", block=TILE, overlap=(0, 0, 0)
        ).to_numpy(),
        "blocks, overlapping by half": model.predict(
            noisy, tiling="blocks", block=TILE, overlap=tuple(t // 2 for t in TILE)
        ).to_numpy(),
    }
    at_borders = border_mask(whole.shape)
    print("| tiles of 16×32×32 | at borders | elsewhere | largest |\n|---|---|---|---|")
    for name, prediction in tiled.items():
        difference = np.abs(prediction - whole) / np.ptp(whole)
        print(
            f"| {name} | {difference[at_borders].mean():.1e} | "
            f"{difference[~at_borders].mean():.1e} | {difference.max():.1e} |"
        )
    draw(whole, tiled, output)


def border_mask(shape: tuple[int, ...]) -> np.ndarray:
    """Voxels on both sides of the borders between tiles."""
    mask = np.zeros(shape, bool)
    for axis, (size, tile) in enumerate(zip(shape, TILE, strict=True)):
        for border in range(tile, size, tile):
            beside = [slice(None)] * len(shape)
            beside[axis] = slice(border - 1, border + 1)
            mask[tuple(beside)] = True
    return mask


def draw(whole: np.ndarray, tiled: dict[str, np.ndarray], path: Path) -> None:
    """The middle slice of the whole prediction, and what each way of tiling differs by."""
    from matplotlib import pyplot

    middle = len(whole) // 2
    figure, grid = pyplot.subplots(2, 2, figsize=(11, 4.4), constrained_layout=True)
    axes = grid.ravel()
    low, high = np.percentile(whole[middle], (0.5, 99.8))
    axes[0].imshow(whole[middle], cmap="gray", vmin=low, vmax=high)
    axes[0].set_title("whole image")
    for axis, (name, prediction) in zip(axes[1:], tiled.items(), strict=True):
        difference = (prediction - whole)[middle] / np.ptp(whole)
        shown = axis.imshow(difference, cmap="RdBu_r", vmin=-0.02, vmax=0.02)
        axis.set_title(f"{name}: difference")
    for axis in axes:
        axis.set_axis_off()
    bar = figure.colorbar(shown, ax=axes, shrink=0.9)
    bar.set_label("share of the range")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    typer.run(main)
