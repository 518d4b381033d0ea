"""Calibrates the σ of a trained denoiser on its recipe's validation images.

    python zoo/calibrate.py RUN --data DIR

writes RUN/calibration.json, which `gvtzoo package RUN -o model.zip` puts into the package. Clean
images are exposed at many noise levels, closer to each other than those of the recipe.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from gvtzoo.hub.load import load_own
from gvtzoo.recipes.recipe import Recipe, load_recipe
from gvtzoo.training.calibration import calibrate_sigma
from gvtzoo.training.data.patches import load_images

PHOTONS = (3, 6, 12, 25, 50, 100, 200)


def main() -> None:
    """Calibrate, and write it into the run folder."""
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()
    recipe = at_many_levels(load_recipe(arguments.run / "recipe.yaml"))
    images = load_images(arguments.data, "val", recipe)
    found = calibrate_sigma(load_own(arguments.run), images)
    for noise, factor in zip(found.noise, found.factors, strict=True):
        print(f"noise {noise:.4f}\tfactor {factor:.3f}")
    print(*(f"{level:g}: {found.multiple(level):.3f} σ" for level in (0.5, 0.8, 0.9)), sep="\t")
    path = arguments.run / "calibration.json"
    path.write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")


def at_many_levels(recipe: Recipe) -> Recipe:
    """The recipe, with `PHOTONS` where it adds noise."""
    if recipe.data.noise is None:
        return recipe
    noise = recipe.data.noise.model_copy(update={"photons": PHOTONS})
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"noise": noise})})


if __name__ == "__main__":
    main()
