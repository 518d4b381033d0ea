"""What a package says of itself to gvtzoo: ``config.gvtzoo`` in its ``rdf.yaml``."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gvtzoo.images.normalization import NormalizationConfig
from gvtzoo.networks.baseline_config import AnyNetworkConfig
from gvtzoo.networks.config import NetworkConfig
from gvtzoo.recipes.metadata import MetricRow, ModelMetadata, Task

MOST_FILES = 500  # of `TrainedOn`: descriptions are YAML, which is read slowly


class Packaged(BaseModel):
    """A part of ``config.gvtzoo``: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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


class PackageConfig(Packaged):
    """Everything that gvtzoo needs to predict, fine-tune and describe a packaged model.

    Attributes
    ----------
    format : {"1"}
        Of this mapping.
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
    uncertainty : bool
        Whether gvtzoo's own prediction can give σ; derived from `network`.
    resampled_to : float, optional
        In-plane pixel size, in µm, that training images were resampled to, and images to be
        predicted are; derived from `recipe` where a package does not say.
    """

    format: Literal["1"] = "1"
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
    uncertainty: bool = False
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
