"""A trained network against what one would do without it, on images that it has not seen.

Every simple method is taken at the setting that is best for the truth: better than any user could
choose it. So the comparison favours the simple methods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from gvtzoo.core.errors import GvtzooError
from gvtzoo.metrics.pair import evaluate_pair
from gvtzoo.prediction.filters import CLASSICAL
from gvtzoo.training.comparison import COLUMNS, predict
from gvtzoo.training.data.images import TrainingImage

if TYPE_CHECKING:
    from gvtzoo.prediction.model import Model
    from gvtzoo.recipes.metadata import Task

Method = Callable[[np.ndarray], np.ndarray]
Metrics = dict[str, float]

SIGMAS = (0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 4.0, 6.0, 8.0)
WINDOWS = (5, 11, 21, 41)


def simple_methods(task: Task) -> dict[str, dict[str, Method]]:
    """Settings by method; each makes a prediction of a source image (channel, (z,) y, x)."""
    return {"denoising": _denoisers, "label_free": _filters, "projection": _projections}[task]()


def _denoisers() -> dict[str, dict[str, Method]]:
    def bind(denoise: Callable[..., np.ndarray], setting: Mapping[str, float]) -> Method:
        return lambda source: denoise(source[0], **setting)

    classical = {
        name: {
            ", ".join(f"{key} {value:g}" for key, value in setting.items()): bind(
                denoiser.denoise, setting
            )
            for setting in denoiser.settings
        }
        for name, denoiser in CLASSICAL.items()
    }
    return {"input": {"": lambda source: source[0].astype(np.float32)}, **classical}


def _filters() -> dict[str, dict[str, Method]]:
    """Of every plane of a transmitted-light stack."""
    from scipy.ndimage import gaussian_filter, uniform_filter

    def plane(number: int) -> Method:
        return lambda source: source.reshape(-1, *source.shape[-2:])[number].astype(np.float32)

    def smooth(number: int, sigma: float) -> Method:
        return lambda source: gaussian_filter(plane(number)(source), sigma)

    def contrast(number: int, width: int) -> Method:
        def deviation(source: np.ndarray) -> np.ndarray:
            image = plane(number)(source)
            mean = uniform_filter(image, width)
            return np.sqrt(np.clip(uniform_filter(image**2, width) - mean**2, 0, None))

        return deviation

    numbers = range(13)
    return {
        "input": {f"plane {n}": plane(n) for n in numbers},
        "Gaussian": {f"plane {n}, sigma {s:g}": smooth(n, s) for n in numbers for s in SIGMAS},
        "local contrast": {
            f"plane {n}, window {w}": contrast(n, w) for n in numbers for w in WINDOWS
        },
    }


def _projections() -> dict[str, dict[str, Method]]:
    from scipy.ndimage import gaussian_filter

    def smoothed(sigma: float) -> Method:
        return lambda source: gaussian_filter(source[0].astype(np.float32), sigma).max(axis=0)

    def surface(sigma: float) -> Method:
        """The planes around the smoothed height of the largest gradient along z."""

        def project(source: np.ndarray) -> np.ndarray:
            stack = source[0].astype(np.float32)
            wide = gaussian_filter(stack, (1, 3 * sigma, 3 * sigma))
            height = gaussian_filter(wide.argmax(axis=0).astype(np.float32), 3 * sigma)
            z = np.arange(len(stack))[:, None, None]
            weights = np.exp(-((z - height) ** 2) / (2 * 1.5**2))
            flat = (weights * stack).sum(axis=0) / weights.sum(axis=0)
            return gaussian_filter(flat, sigma / 2)

        return project

    return {
        "mean projection": {"": lambda source: source[0].mean(axis=0, dtype=np.float32)},
        "maximum projection": {"": lambda source: source[0].max(axis=0).astype(np.float32)},
        "Gaussian, maximum projection": {f"sigma {s:g}": smoothed(s) for s in SIGMAS},
        "height of the brightest plane": {f"sigma {s:g}": surface(s) for s in SIGMAS},
    }


def compare_methods(
    images: Sequence[TrainingImage],
    task: Task,
    models: Mapping[str, Model],
    *,
    data: str,
    seed: int,
) -> list[dict[str, str | float]]:
    """The table of a model's card.

    Parameters
    ----------
    images : sequence of TrainingImage
        That no model has seen. Where a name has a condition behind a comma ("surface, 20
        photons"), every condition gets its own rows.
    task : {"label_free", "denoising", "projection"}
    models : mapping of str to Model
        Networks by the name that the table gives them.
    data : str
        What the table calls the images.
    seed : int
        Of the noise, where there is any.

    Returns
    -------
    list of dict
        ``data``, ``condition``, ``method``, and r, NRMSE, PSNR, SSIM, each the mean over images.

    Raises
    ------
    GvtzooError
        When there are no images.
    """
    if not images:
        raise GvtzooError("there are no images to compare on: the data has no test split")
    rows: list[dict[str, str | float]] = []
    for condition, chosen in _by_condition(images).items():
        pairs = [
            image.raw(np.random.default_rng([seed, number])) for number, image in enumerate(chosen)
        ]
        results: dict[str, Metrics] = {}
        for name, settings in simple_methods(task).items():
            results.update(_best(name, settings, pairs))
        for name, model in models.items():
            results[name] = _score(partial(predict, model), pairs)
        rows += [
            {"data": data, "condition": condition, "method": name}
            | {COLUMNS[key]: metrics[key] for key in COLUMNS}
            for name, metrics in results.items()
        ]
    return rows


def _by_condition(images: Sequence[TrainingImage]) -> dict[str, list[TrainingImage]]:
    found: dict[str, list[TrainingImage]] = {}
    for image in images:
        found.setdefault(image.name.partition(", ")[2], []).append(image)
    return found


def _best(
    name: str, settings: Mapping[str, Method], pairs: Sequence[tuple[np.ndarray, np.ndarray]]
) -> Iterator[tuple[str, Metrics]]:
    """A method at the setting with the best SSIM, and at that with the best NRMSE."""
    metrics = {setting: _score(method, pairs) for setting, method in settings.items()}
    best = (
        max(metrics, key=lambda setting: metrics[setting]["ssim"]),
        min(metrics, key=lambda setting: metrics[setting]["nrmse"]),
    )
    for setting in dict.fromkeys(best):
        yield f"{name} ({setting})" if setting else name, metrics[setting]


def _score(method: Method, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> Metrics:
    """Mean metrics of a method over pairs; dark for bright counts as much as bright for bright."""
    found = []
    for source, target in pairs:
        metrics = evaluate_pair(target[0], method(source))
        found.append({**metrics, "r": abs(metrics["r"])})
    return {key: float(np.mean([metrics[key] for metrics in found])) for key in COLUMNS}
