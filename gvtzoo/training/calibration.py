"""Calibrating σ on images with truth that the network was not trained on.

What a network says of its errors is right for the patches that it was trained on, and a little too
sure elsewhere. So σ is multiplied with one number, with which half of the truth's voxels lie
within ln 2 σ of the prediction, as for a Laplace distribution of that scale; and how many σ hold
other shares of them is measured, not assumed (split conformal prediction: Lei et al.,
*Distribution-free predictive inference for regression*, JASA 2018, with the error divided by σ as
the score).
Where images of more or less noise need other numbers, these go with the noise level.

The truth's own noise is a part of the errors, since no truth is without: σ says how far a
measured truth lies from the prediction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gvtzoo.core.errors import GvtzooError
from gvtzoo.metrics.calibration import DEFAULT_LEVELS
from gvtzoo.metrics.noise import noise_level
from gvtzoo.packages.config import SigmaCalibration
from gvtzoo.training.data.images import TrainingImage

if TYPE_CHECKING:
    from gvtzoo.prediction.model import Model

HALF = math.log(2)  # scales of a Laplace distribution that hold half of it
MOST_LEVELS = 12  # of noise
ALIKE = 1.05  # noise levels closer to each other than this factor are one
SAMPLES = 200_000  # voxels of an image


def calibrate_sigma(
    model: Model, images: Sequence[TrainingImage], seed: int = 0
) -> SigmaCalibration:
    """What a model's σ has to be multiplied with, and how many of it hold which share of voxels.

    Parameters
    ----------
    model : Model
        With an uncertainty head; what it knows of σ's calibration is not used.
    images : sequence of TrainingImage
        Not trained on; each counts alike, whatever its size. Targets have to be what the model
        predicts: in the source's units where it undoes its normalization.
    seed : int
        Of simulated noise, and of the voxels that are looked at.

    Returns
    -------
    SigmaCalibration

    Raises
    ------
    GvtzooError
        When there are no images, or the model has no σ.
    """
    if not images:
        raise GvtzooError("there are no images to calibrate σ on; give at least one with truth")
    measured = [scores(model, image, seed + number) for number, image in enumerate(images)]
    groups = group_by_noise(measured)
    noise = [math.exp(float(np.mean([math.log(level) for level, _ in group]))) for group in groups]
    factors = [
        float(np.median(np.concatenate([found for _, found in group]))) / HALF for group in groups
    ]
    scaled = np.concatenate(
        [
            found / factor
            for group, factor in zip(groups, factors, strict=True)
            for _, found in group
        ]
    )
    multiples = np.maximum.accumulate(np.quantile(scaled, DEFAULT_LEVELS))
    return SigmaCalibration(
        noise=tuple(noise),
        factors=tuple(factors),
        levels=DEFAULT_LEVELS,
        multiples=tuple(float(value) for value in multiples),
    )


def scores(model: Model, image: TrainingImage, seed: int) -> tuple[float, np.ndarray]:
    """The noise level of an image, and |truth − prediction| / σ of some of its voxels.

    Parameters
    ----------
    model : Model
        With an uncertainty head.
    image : TrainingImage
        With truth.
    seed : int
        Of the noise, where there is any, and of the choice of voxels.
    """
    from gvtzoo.prediction.model import Model

    config = model.config.model_copy(update={"calibration": None})
    generator = np.random.default_rng(seed)
    source, target = image.raw(generator)
    channels = "c" if config.network.input_channels > 1 else ""
    axes = (channels + "zyx"[-config.network.dimensions :]).upper()
    seen = source if channels else source[0]
    prediction, sigma = Model(model.network, config, model.name).predict(
        seen, axes=axes, uncertainty=True, resample=False
    )
    truth = target if "c" in prediction.dims else target[0]
    normalization = config.normalization
    if not normalization.undo and not isinstance(normalization.target, str):
        truth = normalization.target.fit(truth).apply(truth)
    found = (np.abs(truth - prediction.to_numpy()) / sigma.to_numpy()).ravel()
    chosen = generator.choice(found.size, SAMPLES) if found.size != SAMPLES else slice(None)
    normalized = normalization.source.fit(source).apply(source)
    return noise_level(normalized), found[chosen]


def group_by_noise(
    measured: Sequence[tuple[float, np.ndarray]],
) -> list[list[tuple[float, np.ndarray]]]:
    """Images of like noise together, in ascending order, in at most `MOST_LEVELS` groups."""
    ordered = sorted(measured, key=lambda pair: pair[0])
    count = min(MOST_LEVELS, len(ordered))
    groups: list[list[tuple[float, np.ndarray]]] = []
    for part in np.array_split(np.arange(len(ordered)), count):
        members = [ordered[number] for number in part]
        if groups and members[0][0] < ALIKE * groups[-1][0][0]:
            groups[-1] += members
        else:
            groups.append(members)
    return groups
