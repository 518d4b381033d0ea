"""What a package says of itself to gvtzoo: ``config.gvtzoo`` in its ``rdf.yaml``."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gvtzoo.images.normalization import NormalizationConfig
from gvtzoo.networks.baseline_config import AnyNetworkConfig
from gvtzoo.networks.config import NetworkConfig
from gvtzoo.recipes.metadata import MetricRow, ModelMetadata, Task


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
    fixed : FixedAttention, optional
        Of a client package.
    output : {"prediction", "sigma"}
        What other programs get of the weights.
    clients : tuple of ClientLoss
    """

    format: Literal["1"] = "1"
    task: Task
    network: AnyNetworkConfig
    normalization: NormalizationConfig
    metadata: ModelMetadata
    recipe: dict[str, Any] | None = None
    metrics: tuple[MetricRow, ...] = ()
    tiling: TilingHint | None = None
    pixel_size: dict[Literal["z", "y", "x"], Annotated[float, Field(gt=0, lt=math.inf)]] = Field(
        default_factory=dict
    )
    unit: str | None = None
    uncertainty: bool = False
    fixed: FixedAttention | None = None
    output: Literal["prediction", "sigma"] = "prediction"
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
