"""Candidates of a fine-tuning, judged by what they make of held-out images.

Not by the likelihood: it rises with a better σ while the prediction itself gets worse. The model
that one started from is a candidate too, so that fine-tuning never ends with less than that.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gvtzoo.metrics.pair import evaluate_pair
from gvtzoo.prediction.filters import GAUSSIAN_SIGMAS, gaussian
from gvtzoo.prediction.model import Model
from gvtzoo.recipes.recipe import Recipe, with_settings
from gvtzoo.training.comparison import COLUMNS, knows, predict
from gvtzoo.training.data.images import TrainingImage
from gvtzoo.training.data.patches import PatchDataset
from gvtzoo.training.losses import WITH_SIGMA, sigma_factor

if TYPE_CHECKING:
    from gvtzoo.packages.config import PackageConfig

ALIKE = 0.5  # correlation of a prediction with the truth
# By how much (as a share) a candidate has to be better than the original: on one held-out image,
# and where there is no truth, whose noise hides most of what changes.
MARGIN, WITHOUT_TRUTH = 0.1, 0.01
KNOWN_MARGIN = 0.16  # where the model knows such images, a gain is rather about these few
LEARNED = 0.15  # by how much NRMSE of images has to fall that were learned from
LOOKED_AT = 8  # of these, at most
NEARLY = 0.75  # of the margin for unknown images, within which candidates count as equal
SSIM_COUNTS = 2.0  # times as much as NRMSE: 1 − SSIM falls by less
FORGOTTEN = 0.1  # by how much, as a share, other structures may get worse for any gain
WAY = (0.25, 0.5, 0.75, 1.0)  # shares of the way from the original's weights to the trained ones
SIGMA_PATCHES = 8
SMALLEST = 1e-6  # of errors, so that there is a logarithm

Metrics = dict[str, float]


@dataclass(frozen=True)
class Reconstruction:
    """Judges networks by their predictions of held-out images, against the original's.

    Attributes
    ----------
    original : Model
        What the fine-tuning starts from.
    config : PackageConfig
        Of the candidates.
    images : sequence of TrainingImage
        Held out.
    device : str
    truth : bool
        Whether targets are the truth; else they are noisy, and SSIM, which noise lowers whatever
        the prediction is, does not count.
    others : sequence of TrainingImage
        Of other structures, with truth: what the network shall not forget.
    learned : sequence of TrainingImage
        Pairs that the candidates have learned from.
    """

    original: Model
    config: PackageConfig
    images: Sequence[TrainingImage]
    device: str = "auto"
    truth: bool = True
    others: Sequence[TrainingImage] = ()
    learned: Sequence[TrainingImage] = ()

    def __call__(self, network: Any) -> float:
        """The score of a network, lower is better; 0 is the original's.

        The logarithm of NRMSE against the original's, and twice that of 1 − SSIM: the worse of
        both, since a gain in one of them alone is chance more often. Where the prediction hardly
        resembles the truth, the held-out images show nothing that could be judged by, and nothing
        is better; nor is what makes other structures clearly worse, and by more than it makes these
        better.
        """
        model = Model(copy.deepcopy(network), self.config)
        rows = self.measure(model)
        changes = [self._change(rows, lambda row: row["nrmse"] ** 2) / 2]
        if self.truth:
            changes.append(SSIM_COUNTS * self._change(rows, lambda row: 1 - row["ssim"]))
            if np.average([row["r"] for row in rows], weights=self.weights) < ALIKE:
                return 1.0
        score = max(changes)
        if score > 0:
            return score
        forgotten = self._forgotten(model)
        return forgotten if forgotten > max(FORGOTTEN, -score) else score

    def _forgotten(self, model: Model) -> float:
        """Mean logarithm of the ratio of NRMSE of other structures, a model's to the original's."""
        if not self.others:
            return 0.0
        return float(np.mean(self._errors(model, self.others) - self._known))

    @cached_property
    def _known(self) -> np.ndarray:
        return self._errors(self.original, self.others)

    def learned_gain(self, network: Any) -> float:
        """By how much, as a share, NRMSE of some images that were learned from has fallen.

        What has not learned these better either, has nothing to give to others: then one or two
        held-out images gain by chance, or because they are unlike the rest. Infinite, where there
        are none to look at.
        """
        if not self._looked_at:
            return math.inf
        model = Model(copy.deepcopy(network), self.config)
        return float(np.mean(self._unlearned - self._errors(model, self._looked_at)))

    @cached_property
    def is_known(self) -> bool:
        """Whether most of the images that are learned from are like the original's own."""
        known = [
            knows(self.original, image.raw(np.random.default_rng(number))[0])
            for number, image in enumerate(self._looked_at)
        ]
        return sum(known) > len(known) / 2

    @cached_property
    def _looked_at(self) -> Sequence[TrainingImage]:
        """Some of the images that are learned from, of all parts of their list."""
        return self.learned[:: math.ceil(len(self.learned) / LOOKED_AT) or 1]

    @cached_property
    def _unlearned(self) -> np.ndarray:
        return self._errors(self.original, self._looked_at)

    def _errors(self, model: Model, images: Sequence[TrainingImage]) -> np.ndarray:
        """Logarithms of a model's NRMSE of images."""
        return np.log([max(row["nrmse"], SMALLEST) for row in self.measure(model, images)])

    @property
    def margin(self) -> float:
        """By how much a candidate has to be better than the original, as a share, to be taken.

        Held-out images say for sure what becomes of these, not of others; the less, the fewer
        there are, with the root of their number as means go. More is asked where the original was
        trained on such images.
        """
        return self._of_few(KNOWN_MARGIN if self.is_known else MARGIN)

    @property
    def tolerance(self) -> float:
        """By how much, as a share, candidates may be worse than the best to count as equal."""
        return NEARLY * self._of_few(MARGIN)

    def _of_few(self, of_one: float) -> float:
        return of_one / math.sqrt(len(self.images)) if self.truth else WITHOUT_TRUTH

    def _change(self, rows: Sequence[Metrics], error: Callable[[Metrics], float]) -> float:
        """Logarithm of the ratio of two weighted mean errors, these rows' to the original's."""
        means = [
            max(float(np.average([error(row) for row in found], weights=self.weights)), SMALLEST)
            for found in (rows, self.start)
        ]
        return math.log(means[0] / means[1])

    @cached_property
    def weights(self) -> list[float]:
        """How much each image counts: by the variance of its target, in the units of its source.

        Else images of empty background would count as much as those with something to see.
        """
        found = []
        for number, image in enumerate(self.images):
            _, target = image.raw(np.random.default_rng(number))
            fitted = getattr(image, "target_normalization", None)
            spread = float(np.std(target.astype(np.float64))) / (fitted.scale if fitted else 1.0)
            source = getattr(image, "source_normalization", None)
            found.append((spread * (source.scale if source else 1.0)) ** 2)
        return found

    @cached_property
    def start(self) -> list[Metrics]:
        """The original's metrics."""
        return self.measure(self.original)

    def measure(self, model: Model, images: Sequence[TrainingImage] | None = None) -> list[Metrics]:
        """Metrics of a model, of each image; by default of those that are held out.

        Parameters
        ----------
        model : Model
        images : sequence of TrainingImage, optional
        """
        # Exporting a candidate for another engine takes longer than its few images.
        options = {"device": self.device, "engine": "torch"}
        return _metrics(
            lambda source: predict(model, source, **options),
            self.images if images is None else images,
        )

    def mean(self, model: Model) -> Metrics:
        """Mean r, NRMSE, PSNR and SSIM of a model, weighted; without truth, r and NRMSE."""
        return self._means(self.start if model is self.original else self.measure(model))

    def best_gaussian(self) -> tuple[float, Metrics]:
        """The Gaussian filter with the lowest NRMSE: its σ in voxels, and its means as of `mean`.

        What needs no training; chosen by the held-out images, which favours it.
        """
        found = {
            sigma: self._means(_metrics(partial(_filtered, sigma=sigma), self.images))
            for sigma in GAUSSIAN_SIGMAS
        }
        return min(found.items(), key=lambda item: item[1]["NRMSE"])

    def _means(self, rows: Sequence[Metrics]) -> Metrics:
        return {
            label: float(np.average([row[key] for row in rows], weights=self.weights))
            for key, label in COLUMNS.items()
            if self.truth or key in ("r", "nrmse")
        }


def _metrics(
    restore: Callable[[np.ndarray], np.ndarray], images: Sequence[TrainingImage]
) -> list[Metrics]:
    """Of what is made of each image's source (channel, (z,) y, x)."""
    found = []
    for number, image in enumerate(images):
        source, target = image.raw(np.random.default_rng(number))
        found.append(evaluate_pair(target[0], restore(source)))
    return found


def _filtered(source: np.ndarray, sigma: float) -> np.ndarray:
    return gaussian(source[0], sigma=sigma)


@dataclass(frozen=True)
class Choice:
    """What is taken of a training.

    Attributes
    ----------
    network : Network
    share : float
        Of the way from the original's weights (0) to the trained ones (1).
    scores : dict of float to float
        Of all shares that were tried, lower is better; 0 is the original's.
    learned : dict of float to float
        By how much those have learned the images that they were trained on
        (`Reconstruction.learned_gain`).
    """

    network: Any
    share: float
    scores: dict[float, float]
    learned: dict[float, float]


def choose_between(judge: Reconstruction, trained: Any) -> Choice:
    """A network with weights on the line from the original's to the trained ones.

    Of those that have learned their own images, the nearest to the original that is not clearly
    worse than the best, by the judge's tolerance at most: what lies beyond is about the few images
    at hand, and models between the two are better on others (Wortsman et al., *Robust fine-tuning
    of zero-shot models*, CVPR 2022). The original itself, where the best gain is below the margin.

    Parameters
    ----------
    judge : Reconstruction
    trained : Network
    """
    candidates = {share: between(judge.original.network, trained, share) for share in (0.0, *WAY)}
    scores = {share: judge(candidates[share]) for share in WAY}
    learned = {share: judge.learned_gain(candidates[share]) for share in WAY}
    able = {share: score for share, score in scores.items() if learned[share] >= LEARNED}
    best = min(able.values(), default=0.0)
    share = 0.0
    if best < -judge.margin:
        share = min(share for share, score in able.items() if score <= best + judge.tolerance)
    return Choice(candidates[share], share, scores, learned)


def between(original: Any, trained: Any, share: float) -> Any:
    """A network with weights at a share of the way from an original's to the trained one's.

    Parameters
    ----------
    original, trained : Network
        With the same weights by name.
    share : float
        0 is the original, 1 the trained one.

    Returns
    -------
    Network
        A new one, in evaluation mode.
    """
    network = copy.deepcopy(trained).eval()
    start = original.state_dict()
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.lerp(start[name], tensor, share))
    return network


def with_sigma_factor(recipe: Recipe, network: Any, images: Sequence[TrainingImage]) -> Recipe:
    """The recipe with σ of the size of a network's errors on images that it is new to.

    So that the first steps are not about σ. For losses without σ, the recipe as it is.

    Parameters
    ----------
    recipe : Recipe
    network : Network
        On the CPU, with σ where the loss has it.
    images : sequence of TrainingImage
    """
    settings = recipe.training
    if settings.loss not in WITH_SIGMA:
        return recipe
    patches = PatchDataset(images, recipe, 0, SIGMA_PATCHES)
    with torch.no_grad():
        outputs = [
            (*network.forward_with_sigma(torch.from_numpy(source)[None]), torch.from_numpy(target))
            for source, target in (patches[number] for number in range(len(patches)))
        ]
    prediction, sigma, target = (
        torch.cat([output[part].reshape(-1) for output in outputs]) for part in range(3)
    )
    known = torch.isfinite(target)
    factor = sigma_factor(settings.loss, prediction[known], sigma[known], target[known])
    return with_settings(recipe, training={"sigma_factor": max(factor, SMALLEST)})
