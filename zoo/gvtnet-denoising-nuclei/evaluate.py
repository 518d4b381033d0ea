"""Measures the bundled model against classical denoisers, for its card.

    python zoo/gvtnet-denoising-nuclei/evaluate.py RUN

writes RUN/metrics.json and RUN/tiling.json from the weights in RUN and the stack beside this file,
which the model was neither trained nor validated on. `gvtzoo.training.run.package_run`, given the
recipe's own description as `metadata`, then puts the table into the package. Each classical
denoiser is taken at the setting that is best for SSIM and at the one that is best for NRMSE, chosen
by the truth: better than any user could.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from safetensors.torch import load_file

from gvtzoo.images.files import read_image
from gvtzoo.images.padding import pad_to_multiple
from gvtzoo.metrics.pair import evaluate_pair
from gvtzoo.packages.config import PackageConfig, TilingHint
from gvtzoo.prediction.filters import best_results, evaluate_classical
from gvtzoo.prediction.model import Model
from gvtzoo.prediction.tiling import measure_tiling
from gvtzoo.recipes.metadata import default_metadata
from gvtzoo.recipes.recipe import CameraNoise, Recipe, load_recipe
from gvtzoo.training.data.camera import relative_intensity, simulate_camera

STACK = Path(__file__).with_name("test_stack.tif")
DATA = "nuclei, rows 192 to 255 (not seen in training)"
SEED = 0
TILE = (32, 32, 64)
COLUMNS = {"r": "r", "nrmse": "NRMSE", "psnr": "PSNR", "ssim": "SSIM"}


def main(run: Path) -> None:
    """Measure, print the table, and write it into the run folder."""
    recipe = load_recipe(run / "recipe.yaml")
    model = load_model(run, recipe)
    noise = recipe.data.noise
    assert noise is not None
    clean = read_image(STACK).to_numpy()
    intensity = relative_intensity(clean)
    rows = []
    classical = measure_classical(run / "classical.json", intensity, noise)
    for photons in noise.photons:
        noisy, truth = exposure(intensity, photons, noise)
        condition = f"{photons:g} photons"
        prediction, sigma = model.predict(noisy, axes="ZYX", uncertainty=True)
        results = {
            "noisy input": evaluate_pair(truth, noisy),
            **classical[condition],
            "GVTNet": evaluate_pair(truth, prediction.to_numpy()),
        }
        for method, metrics in results.items():
            numbers = {COLUMNS[key]: metrics[key] for key in COLUMNS}
            rows.append({"data": DATA, "condition": condition, "method": method, **numbers})
            print(condition, method, *(f"{k} {v:.4f}" for k, v in numbers.items()), sep="\t")
        print(
            condition,
            "coverage of the 50 % and 90 % intervals",
            *coverage(truth, prediction, sigma),
        )
    (run / "metrics.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    hint = tiling_hint(model, noisy)
    print("tiling", hint)
    (run / "tiling.json").write_text(hint.model_dump_json(indent=1) + "\n", encoding="utf-8")


def exposure(
    intensity: np.ndarray, photons: float, noise: CameraNoise
) -> tuple[np.ndarray, np.ndarray]:
    """The stack as the camera sees it, and what it would count without noise."""
    noisy = simulate_camera(
        intensity,
        photons=photons,
        read_noise=noise.read_noise,
        offset=noise.offset,
        generator=np.random.default_rng(SEED),
    )
    return noisy, (intensity * photons + noise.offset).astype(np.float32)


def measure_classical(
    path: Path, intensity: np.ndarray, noise: CameraNoise
) -> dict[str, dict[str, dict[str, float]]]:
    """Metrics of the classical denoisers by noise level and method; minutes, so kept in `path`."""
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    found: dict[str, dict[str, dict[str, float]]] = {}
    for photons in noise.photons:
        noisy, truth = exposure(intensity, photons, noise)
        results = evaluate_classical(noisy, truth)
        best = found[f"{photons:g} photons"] = {}
        for score in ("ssim", "nrmse"):
            for result in best_results(results, score=score):
                setting = ", ".join(f"{key} {value:g}" for key, value in result.setting.items())
                best[f"{result.name}, best {COLUMNS[score]} ({setting})"] = result.metrics
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found


def tiling_hint(model: Model, noisy: np.ndarray) -> TilingHint:
    """What tiles of the size that ilastik takes cost on the test stack."""
    normalized = model.config.normalization.source.fit(noisy).apply(noisy)[np.newaxis]
    padded, _ = pad_to_multiple(normalized, (1, *model.config.network.multiple))
    return measure_tiling(model.network, padded, TILE)


def load_model(run: Path, recipe: Recipe) -> Model:
    """The run's best weights, ready to predict."""
    network = recipe.network.build()
    network.load_state_dict(load_file(run / "best.safetensors"))
    config = PackageConfig(
        task=recipe.task,
        network=recipe.network,
        normalization=recipe.normalization,
        metadata=recipe.model or default_metadata(recipe.name, recipe.task),
    )
    return Model(network, config)


def coverage(truth: np.ndarray, prediction: np.ndarray, sigma: np.ndarray) -> list[float]:
    """How much of the truth lies within the central 50 % and 90 % of the predicted Laplace."""
    error = np.abs(truth - prediction) / sigma
    return [round(float((error < -np.log(1 - level)).mean()), 4) for level in (0.5, 0.9)]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
