"""The demonstration: a bundled real stack, made noisy, denoised by the bundled model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.files import write_atomically
from gvtzoo.core.progress import Progress
from gvtzoo.core.resources import zoo_folder

if TYPE_CHECKING:
    import xarray as xr

WHAT = (
    "Rows 192 to 255 of the stack whose rows 0 to 143 the model was trained on, with simulated "
    "camera noise of 8 photons: the same sample and microscope, so expect less on yours."
)
MODEL = "gvtnet-denoising-nuclei"
CLEAN_STACK = "test_stack.tif"
PHOTONS = 8.0
SEED = 2021


@dataclass(frozen=True)
class DemoResult:
    """Metrics by image (``noisy``, ``denoised``), and the files that were written."""

    metrics: dict[str, dict[str, float]]
    files: list[Path]


def demo_images() -> tuple[xr.DataArray, xr.DataArray]:
    """The noisy input and the truth, both (z, y, x) in camera counts.

    The truth is a part of the stack that the model was neither trained nor validated on, which
    other parts of it were used for (`WHAT`); noise of 8 photons at the bright structures is
    simulated, the same every time.
    """
    from gvtzoo.images.files import read_image
    from gvtzoo.training.data.camera import relative_intensity, simulate_camera

    clean = read_image(zoo_folder() / MODEL / CLEAN_STACK)
    intensity = relative_intensity(clean.to_numpy())
    camera = {"photons": PHOTONS, "offset": 100.0}
    noisy = simulate_camera(
        intensity, read_noise=2.0, generator=np.random.default_rng(SEED), **camera
    )
    truth = (intensity * camera["photons"] + camera["offset"]).astype(np.float32)
    return clean.copy(data=noisy), clean.copy(data=truth)


def run_demo(
    folder: str | Path,
    *,
    device: str = "auto",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> DemoResult:
    """Denoise the bundled stack; write input, prediction, σ, truth, and a picture of them.

    Parameters
    ----------
    folder : path
    device : str
        As in `Settings`.
    overwrite : bool
        Whether outputs that exist are replaced.
    progress : callable, optional
        ``progress(done, all)``.

    Raises
    ------
    GvtzooError
        When the outputs exist and `overwrite` is not set.
    """
    from gvtzoo.hub.load import load_own
    from gvtzoo.images.files import write_image
    from gvtzoo.metrics.pair import evaluate_pair

    folder = Path(folder)
    names = ("input", "prediction", "prediction_sigma", "truth")
    files = [folder / f"{name}.tif" for name in names]
    picture = folder / "demo.png"
    for path in (*files, picture):
        if path.exists() and not overwrite:
            raise GvtzooError(f"{path} exists: choose another folder, or pass --overwrite")
    noisy, truth = demo_images()
    model = load_own(MODEL)
    denoised, sigma = model.predict(noisy, uncertainty=True, device=device, progress=progress)
    images = (noisy, denoised, sigma, truth)
    for path, image in zip(files, images, strict=True):
        write_image(path, image, overwrite=overwrite)
    draw_comparison(picture, *images)
    metrics = {
        name: evaluate_pair(truth.to_numpy(), image.to_numpy())
        for name, image in (("noisy", noisy), ("denoised", denoised))
    }
    return DemoResult(metrics, [*files, picture])


def draw_comparison(
    path: Path,
    noisy: xr.DataArray,
    denoised: xr.DataArray,
    sigma: xr.DataArray,
    truth: xr.DataArray,
) -> None:
    """One PNG: input, prediction, σ and truth, a slice in xy above one in xz.

    Input, prediction and truth have the same contrast, from the truth's 0.1 to 99.9 percentile.

    Parameters
    ----------
    path : Path
    noisy, denoised, sigma, truth : DataArray
        z, y, x, of the same shape.
    """
    from matplotlib.figure import Figure

    from gvtzoo.images.scale_bar import draw_scale_bar

    low, high = np.percentile(truth, (0.1, 99.9))
    sizes = truth.attrs.get("pixel_size", {})
    stretch = sizes.get("z", 1.0) / sizes.get("x", 1.0)
    depth, height, width = truth.shape
    xz_height = depth * stretch
    panels = (("input", noisy), ("GVTNet", denoised), ("σ", sigma), ("truth", truth))
    inches = 3.0
    figure = Figure(
        figsize=(inches * len(panels), inches * (height + xz_height) / width + 0.5),
        layout="constrained",
    )
    axes = figure.subplots(2, len(panels), height_ratios=(height, xz_height))
    for column, (title, image) in enumerate(panels):
        limits = (0.0, float(np.percentile(image, 99.9))) if image is sigma else (low, high)
        style = {
            "cmap": "magma" if image is sigma else "gray",
            "vmin": limits[0],
            "vmax": limits[1],
            "interpolation": "nearest",
        }
        axes[0, column].imshow(image[depth // 2], **style)
        axes[1, column].imshow(image[:, height // 2], aspect=stretch, **style)
        axes[0, column].set_title(title)
        for row, plane in enumerate(("xy", "xz")):
            axes[row, column].set_xticks([])
            axes[row, column].set_yticks([])
            if column == 0:
                axes[row, column].set_ylabel(plane)
    draw_scale_bar(axes[0, 0], sizes.get("x"), truth.attrs.get("unit"))
    with write_atomically(path) as temporary:
        figure.savefig(temporary, dpi=150)
