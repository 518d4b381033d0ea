"""Before the first step: do targets have their sources' units, and are the two not swapped?"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.normalization import NormalizationConfig
from gvtzoo.metrics.units import NOISIER, Units, compare_units, noise_ratio
from gvtzoo.recipes.recipe import Recipe, with_settings
from gvtzoo.training.data.images import PairedImage, TrainingImage
from gvtzoo.training.data.reading import fit_target

log = logging.getLogger(__name__)

CHECKED = 20  # pairs; more would take long and tell nothing new


def settle_units(
    recipe: Recipe, training: Sequence[TrainingImage], validation: Sequence[TrainingImage]
) -> tuple[Recipe, list[TrainingImage], list[TrainingImage]]:
    """The recipe with the units that the pairs have, and the images normalized by it.

    Where a recipe takes targets to have their sources' units, and they have others, targets are
    brought to the sources' units by one gain and offset, which predictions then undo, or pair by
    pair where there is no common one. What was found is logged as a warning. Stacks and their
    projections are not compared.

    Parameters
    ----------
    recipe : Recipe
    training, validation : sequence of TrainingImage

    Raises
    ------
    GvtzooError
        When the targets of a denoising are noisier than the sources, and the recipe does not allow
        that.
    """
    images = [*training, *validation]
    pairs = [
        (image.source, image.target)
        for image in images
        if isinstance(image, PairedImage) and image.source.shape == image.target.shape
    ][:CHECKED]
    normalization = recipe.normalization
    if not pairs:
        return recipe, list(training), list(validation)
    if recipe.task == "denoising" and not recipe.data.noisier_targets:
        refuse_swapped(pairs)
    if normalization.target == "as_source" and normalization.target_units is None:
        settled = _settled(recipe, compare_units(pairs))
    else:
        settled = recipe
    if settled is recipe:
        return recipe, list(training), list(validation)
    fitted = [
        [normalized(image, settled.normalization) for image in split]
        for split in (training, validation)
    ]
    return settled, fitted[0], fitted[1]


def refuse_swapped(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
    """Refuse pairs whose targets are the noisy images.

    Raises
    ------
    GvtzooError
    """
    ratio = float(np.median([noise_ratio(*pair) for pair in pairs]))
    if ratio > NOISIER:
        raise GvtzooError(
            f"the targets are {ratio:.1f} times as noisy as the sources: are source/ and target/ "
            "swapped? If they are not, go on with --set data.noisier_targets=true"
        )


def normalized(image: TrainingImage, normalization: NormalizationConfig) -> TrainingImage:
    """A pair with its target in the network's units, as the recipe now has it."""
    if not isinstance(image, PairedImage):
        return image
    target = fit_target(image.source, image.target, image.source_normalization, normalization)
    return replace(image, target_normalization=target)


def _settled(recipe: Recipe, units: Units) -> Recipe:
    change: dict[str, Any]
    if units.kind == "same":
        return recipe
    if units.kind == "common":
        log.warning(
            "targets are in other units than sources (%s): trained in the sources' units, "
            "predictions are given in the targets'",
            units.line,
        )
        change = {"target_units": {"gain": units.fit.gain, "offset": units.fit.offset}}
    elif units.kind == "own":
        log.warning(
            "targets are in other units than sources, and in others in each pair (such as %s): "
            "each target is fitted to its source; predictions are given in the sources' units",
            units.line,
        )
        change = {"target": "fitted"}
    else:
        log.warning(
            "targets are in other units than sources, and do not look alike enough to tell which: "
            "each is normalized by itself"
        )
        change = {"target": recipe.normalization.source.model_dump(mode="json")}
    return with_settings(recipe, normalization=change)
