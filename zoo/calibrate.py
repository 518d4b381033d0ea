"""Calibrates the σ of a trained denoiser on its recipe's validation images.

    python zoo/calibrate.py RUN --data DIR
    python zoo/calibrate.py zoo/NAME/model.zip --data DIR

writes RUN/calibration.json, which `gvtzoo package RUN -o model.zip` puts into the package, or the
package again. Clean images are exposed at many noise levels, closer to each other than those of the
recipe.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from gvtzoo.hub.load import load_own
from gvtzoo.packages.rewriting import rewrite_package
from gvtzoo.recipes.recipe import Recipe
from gvtzoo.training.calibration import calibrate_sigma
from gvtzoo.training.data.patches import load_images

PHOTONS = (3, 4, 5, 6, 8, 10, 12, 16, 25, 50, 100, 200)


def main() -> None:
    """Calibrate, and write it into the run folder."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path, metavar="RUN|PACKAGE")
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()
    model = load_own(arguments.model)
    recipe = at_many_levels(Recipe.model_validate(model.config.recipe))
    found = calibrate_sigma(model, load_images(arguments.data, "val", recipe))
    for noise, factor in zip(found.noise, found.factors, strict=True):
        print(f"noise {noise:.4f}\tfactor {factor:.3f}")
    print(*(f"{level:g}: {found.multiple(level):.3f} σ" for level in (0.5, 0.8, 0.9)), sep="\t")
    if arguments.model.is_file():
        rewrite_package(arguments.model, {"calibration": found}, arguments.model, overwrite=True)
    else:
        text = found.model_dump_json(indent=1) + "\n"
        (arguments.model / "calibration.json").write_text(text, encoding="utf-8")


def at_many_levels(recipe: Recipe) -> Recipe:
    """The recipe, with `PHOTONS` where it adds noise."""
    if recipe.data.noise is None:
        return recipe
    noise = recipe.data.noise.model_copy(update={"photons": PHOTONS})
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"noise": noise})})


if __name__ == "__main__":
    main()
