"""What a package says of itself to gvtzoo: ``config.gvtzoo`` in its ``rdf.yaml``.

It is written strictly and read tolerantly, so that a package of tomorrow opens in the gvtzoo of
today. `format` is "1", and "1.1" and so on once something is added that older versions may leave
out; what they may not leave out, because predictions would be others, makes it "2". A setting that
is added to a network or a normalization has a value that means "as before" (null, false or nothing
in it), with which older versions leave it out, too.
"""

from __future__ import annotations

import copy
import math
import re
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)

from gvtzoo.core.strict import Strict
from gvtzoo.images.normalization import NormalizationConfig
from gvtzoo.networks.baseline_config import AnyNetworkConfig
from gvtzoo.networks.config import NetworkConfig
from gvtzoo.recipes.metadata import MetricRow, ModelMetadata, Task

MOST_FILES = 500  # of `TrainedOn`: descriptions are YAML, which is read slowly
FORMAT = "1.1"
ROUNDS = 3  # of leaving out what is unknown: in what is left, more may come to light
# Below these, what is unknown would make predictions others.
BINDING = ("network", "normalization")


def _check_format(text: str) -> str:
    if re.fullmatch(r"1(\.\d{1,6})?", text) is None:
        raise ValueError(f"this gvtzoo reads format {FORMAT}, not {text[:20]!r}: update gvtzoo")
    return text


class Packaged(Strict):
    """A part of ``config.gvtzoo`` (see `read_config`); what was measured may be not a number."""

    model_config = ConfigDict(allow_inf_nan=True)


class TilingHint(Packaged):
    """Tiles that lose little against the whole image, and how much they lose.

    Attributes
    ----------
    tile, halo : tuple of int
        Along (z,) y, x, in voxels.
    pearson_r : float, optional
        Between the tiled prediction and that of the whole image.
    max_difference : float, optional
        Largest difference between the two, as a fraction of the whole image's prediction's range.
    """

    tile: tuple[Annotated[int, Field(ge=1)], ...]
    halo: tuple[Annotated[int, Field(ge=0)], ...]
    pearson_r: float | None = None
    max_difference: float | None = None


class FixedAttention(Packaged):
    """Of a package whose operators have the matrices of given images: a client package.

    Attributes
    ----------
    model : str
        The id of the model that it was made from.
    images : tuple of str
        Whose attention and normalization it has.
    halo : tuple of int
        How wide tiles overlap, (z,) y, x: as far as the network looks, on its grid; 0 along z for
        a projection.
    front, back : tuple of int
        What the images are padded by before their first and behind their last voxel, where that is
        the same for all, else 0: how the network's grid lies in them.
    tile : tuple of int, optional
        The one size of tiles, (z,) y, x, halo included; without it tiles may have any size.
    normalization : {"percentile", "zscore", "fixed", "none"}
        What the fixed numbers were taken by.
    """

    model: str
    images: tuple[str, ...]
    halo: tuple[Annotated[int, Field(ge=0)], ...]
    front: tuple[Annotated[int, Field(ge=0)], ...]
    back: tuple[Annotated[int, Field(ge=0)], ...]
    tile: tuple[Annotated[int, Field(ge=1)], ...] | None = None
    normalization: Literal["percentile", "zscore", "fixed", "none"] = "percentile"


class ClientLoss(Packaged):
    """What a program's way of cutting and normalizing costs against the whole image.

    Attributes
    ----------
    client : str
        The program, such as ``"Fiji (JDLL)"``.
    weights : str
        The format that was run.
    image : str
    tiles : int
        Into how many the program cuts the image; 0 where it does not predict it.
    max_difference : float, optional
        To the whole image's prediction, as a fraction of its range.
    pearson_r : float, optional
    seams : float, optional
        The mean step of the difference between neighbours in two tiles, as a fraction of the range;
        None where there is one tile.
    note : str
        What else is to know, such as why there is no prediction.
    """

    client: str
    weights: str
    image: str
    tiles: int
    max_difference: float | None = None
    pearson_r: float | None = None
    seams: float | None = None
    note: str = ""


class TrainedFile(Packaged):
    """A file that a model has learned from.

    Attributes
    ----------
    name : str
        Without folders.
    sha256 : str
        As of `gvtzoo.core.files.sha256_of`.
    use : {"train", "val"}
        Whether the network was trained on it, or its weights were chosen by it.
    region : dict
        The part that was taken, as half-open ranges of voxels along axes; empty for all.
    model : str
        The id of the model that learned from it, where that is one that this one was fine-tuned
        from; empty for the model itself.
    """

    name: str
    sha256: str
    use: Literal["train", "val"]
    region: dict[Literal["z", "y", "x"], tuple[int, int]] = Field(default_factory=dict)
    model: str = ""


class TrainedOn(Packaged):
    """The files that a model has learned from, those of the models before it among them.

    Attributes
    ----------
    files : tuple of TrainedFile
    left_out : int
        How many more there were: descriptions have room for `MOST_FILES`.
    """

    files: tuple[TrainedFile, ...] = ()
    left_out: Annotated[int, Field(ge=0)] = 0


class SigmaCalibration(Packaged):
    """What the network's σ says, found on validation images (`gvtzoo.training.calibration`).

    Attributes
    ----------
    noise : tuple of float
        Noise levels (`gvtzoo.metrics.noise.noise_level`) of normalized images, ascending; one
        for each factor.
    factors : tuple of float
        What σ is multiplied with at these levels; between them by linear interpolation over the
        logarithm, and beyond them as at the last.
    levels : tuple of float
        Shares of voxels, ascending, between 0 and 1.
    multiples : tuple of float
        How many σ around the prediction hold each share of the truth's voxels.
    """

    noise: tuple[Annotated[float, Field(gt=0, lt=math.inf)], ...] = (1.0,)
    factors: tuple[Annotated[float, Field(gt=0, lt=math.inf)], ...] = (1.0,)
    levels: tuple[Annotated[float, Field(gt=0, lt=1)], ...]
    multiples: tuple[Annotated[float, Field(gt=0, lt=math.inf)], ...]

    @model_validator(mode="after")
    def _check_order(self) -> SigmaCalibration:
        for first, second in (("noise", "factors"), ("levels", "multiples")):
            given, found = getattr(self, first), getattr(self, second)
            if not given or len(given) != len(found) or list(given) != sorted(set(given)):
                raise ValueError(f"{first} has to ascend, and to have as many numbers as {second}")
        if list(self.multiples) != sorted(self.multiples):
            raise ValueError("multiples have to ascend")
        return self

    def factor(self, noise: float) -> float:
        """What σ of an image of this noise level is multiplied with."""
        at = math.log(max(noise, self.noise[0]))
        return float(np.interp(at, np.log(self.noise), self.factors))

    def multiple(self, level: float) -> float:
        """How many σ around the prediction hold this share of the voxels."""
        return float(np.interp(level, (0.0, *self.levels), (0.0, *self.multiples)))


def _numbers(value: Any) -> Any:
    return value.split() if isinstance(value, str) else value


# In a description a text, which is read far more quickly than a list.
Numbers = Annotated[
    tuple[float, ...],
    BeforeValidator(_numbers),
    PlainSerializer(lambda numbers: " ".join(f"{number:.4g}" for number in numbers), str, "json"),
]


class Fingerprint(Packaged):
    """What the training images are like, as the network gets them (`gvtzoo.metrics.fingerprint`).

    Attributes
    ----------
    version : int
        Of the features; others than `gvtzoo.metrics.fingerprint.VERSION` are not compared.
    images : int
        How many were looked at.
    low, high, mean : tuple of float
        Ranges and means of the features of `gvtzoo.metrics.fingerprint.FEATURES`; NaN where there
        are none.
    factor : tuple of float
        What whitens the others, row by row (`gvtzoo.metrics.fingerprint.whitening`).
    limit : float
        The largest distance (`gvtzoo.metrics.fingerprint.distance`) of images like these.
    planes : tuple of int
        Fewest and most planes of the images, along z.
    voxels : dict of str to (float, float)
        Smallest and largest size along z, y and x, in µm, that the network has seen, where it is
        known.
    """

    version: int
    images: Annotated[int, Field(ge=1)]
    low: Numbers
    high: Numbers
    mean: Numbers
    factor: Numbers
    limit: Annotated[float, Field(gt=0, lt=math.inf)]
    planes: tuple[int, int] = (1, 1)
    voxels: dict[Literal["z", "y", "x"], tuple[float, float]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_sizes(self) -> Fingerprint:
        count = sum(map(math.isfinite, self.mean))
        if len(self.factor) != count * (count + 1) // 2:
            raise ValueError(f"factor has to have {count * (count + 1) // 2} numbers")
        if not len(self.low) == len(self.high) == len(self.mean):
            raise ValueError("low, high and mean have to have as many numbers")
        return self


class PackageConfig(Packaged):
    """Everything that gvtzoo needs to predict, fine-tune and describe a packaged model.

    Attributes
    ----------
    format : str
        Of this mapping, such as "1" or "1.2"; `FORMAT` is written.
    task : {"label_free", "denoising", "projection"}
    network : NetworkConfig or BaselineConfig
        With the uncertainty head, where the weights have one.
    normalization : NormalizationConfig
        Including whether predictions are brought back to the source's units.
    metadata : ModelMetadata
    recipe : dict, optional
        What the model was trained with.
    metrics : tuple of MetricRow
    trained_on : TrainedOn
        Empty where it is not known.
    tiling : TilingHint, optional
    pixel_size : dict of str to float
        Of the training images, by axis (``"z"``, ``"y"``, ``"x"``), in `unit`.
    unit : str, optional
        Such as ``"micrometer"``.
    calibration : SigmaCalibration, optional
        Of σ. Without one, σ is what the network says: the scale of a Laplace distribution.
    uncertainty : bool
        Whether gvtzoo's own prediction can give σ; derived from `network`.
    sigma_factor : float
        What the network's σ is multiplied with in predictions.
    resampled_to : float, optional
        In-plane pixel size, in µm, that training images were resampled to, and images to be
        predicted are; derived from `recipe` where a package does not say.
    fixed : FixedAttention, optional
        Of a client package.
    output : {"prediction", "sigma"}
        What other programs get of the weights.
    fingerprint : Fingerprint, optional
        Of the training images.
    clients : tuple of ClientLoss
    """

    format: Annotated[str, AfterValidator(_check_format)] = FORMAT
    task: Task
    network: AnyNetworkConfig
    normalization: NormalizationConfig
    metadata: ModelMetadata
    recipe: dict[str, Any] | None = None
    metrics: tuple[MetricRow, ...] = ()
    trained_on: TrainedOn = TrainedOn()
    tiling: TilingHint | None = None
    pixel_size: dict[Literal["z", "y", "x"], Annotated[float, Field(gt=0, lt=math.inf)]] = Field(
        default_factory=dict
    )
    unit: str | None = None
    calibration: SigmaCalibration | None = None
    uncertainty: bool = False
    sigma_factor: Annotated[float, Field(gt=0, lt=math.inf)] = 1.0
    fixed: FixedAttention | None = None
    output: Literal["prediction", "sigma"] = "prediction"
    fingerprint: Fingerprint | None = None
    clients: tuple[ClientLoss, ...] = ()
    resampled_to: Annotated[float, Field(gt=0, lt=math.inf)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _derive_pixel_size(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "resampled_to" in values:
            return values
        recipe = values.get("recipe")
        data = recipe.get("data") if isinstance(recipe, dict) else None
        wanted = data.get("pixel_size") if isinstance(data, dict) else None
        return values if wanted is None else {**values, "resampled_to": wanted}

    @model_validator(mode="before")
    @classmethod
    def _derive_uncertainty(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "uncertainty" in values:
            return values
        network = values.get("network")
        given = (
            network.get("uncertainty", False)
            if isinstance(network, dict)
            else getattr(network, "uncertainty", False)
        )
        return {**values, "uncertainty": given}

    @model_validator(mode="after")
    def _check_uncertainty(self) -> PackageConfig:
        if self.uncertainty != self.network.uncertainty:
            raise ValueError(
                f"uncertainty is {self.uncertainty}, but network.uncertainty is "
                f"{self.network.uncertainty}"
            )
        return self

    @property
    def exact(self) -> bool:
        """Whether images of any size can be predicted exactly: GVTNets can."""
        return isinstance(self.network, NetworkConfig)


def read_config(content: Any) -> tuple[PackageConfig, tuple[str, ...]]:
    """A package's configuration, of this or a newer version of gvtzoo.

    Parameters
    ----------
    content : mapping
        ``config.gvtzoo``.

    Returns
    -------
    PackageConfig, tuple of str
        And the keys that are unknown here and were left out, such as ``metadata.colour``.

    Raises
    ------
    pydantic.ValidationError
        When it does not hold what it has to, is of another major format, or has unknown settings
        of network or normalization that mean something.
    """
    unknown: list[str] = []
    content = copy.deepcopy(content)
    for _ in range(ROUNDS):
        try:
            return PackageConfig.model_validate(content), tuple(unknown)
        except ValidationError as error:
            # What else is wrong may follow from them.
            found = [_leave_out(content, problem) for problem in error.errors()]
            if not any(found):
                raise
            unknown += [name for name in found if name is not None]
    return PackageConfig.model_validate(content), tuple(unknown)


def _leave_out(content: Any, problem: Any) -> str | None:
    """Remove a key that is not known here; its name, or None where it has to be known."""
    if problem["type"] != "extra_forbidden":
        return None
    *place, key = problem["loc"]
    parts = []
    for part in place:
        # Tags of unions stand in the place, too, but not in the content.
        inside = isinstance(content, dict) and part in content
        if inside or (isinstance(content, list) and isinstance(part, int)):
            content = content[part]
            parts.append(str(part))
    if not isinstance(content, dict) or key not in content:
        return None
    if parts[:1] and parts[0] in BINDING and content[key] not in (None, False, "", [], {}):
        return None
    del content[key]
    return ".".join([*parts, str(key)])
