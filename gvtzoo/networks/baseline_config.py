"""The configurations of the baselines, beside `NetworkConfig` for GVTNets.

Each architecture is a small class with its own settings, so that a setting that it does not have
is an error. All have `NetworkConfig`'s interface.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from gvtzoo.core.strict import Strict
from gvtzoo.networks.config import MOST_FEATURES, NetworkConfig

if TYPE_CHECKING:
    from gvtzoo.networks.baselines import Baseline, CAREProjection


class BaselineConfig(Strict):
    """What all baselines can be set to; the fields are the arguments of their classes.

    Attributes
    ----------
    architecture : str
    dimensions : {2, 3}
    input_channels, output_channels : int
    depth : int
        Number of levels, the bottom one included.
    features : int
        At the first level; they double with each level.
    uncertainty : bool
        Whether there is a second head that gives σ.

    Raises
    ------
    pydantic.ValidationError
        For settings that the architecture does not have, and sizes beyond all use.
    """

    network_name: ClassVar[str]  # of its class in gvtzoo.networks.baselines
    sees_whole_image: ClassVar[bool] = False

    architecture: str
    dimensions: Literal[2, 3] = 3
    input_channels: int = Field(1, ge=1, le=MOST_FEATURES)
    output_channels: int = Field(1, ge=1, le=MOST_FEATURES)
    depth: int = Field(4, ge=2, le=8)
    features: int = Field(32, ge=1, le=MOST_FEATURES)
    uncertainty: bool = False

    @model_validator(mode="before")
    @classmethod
    def _check_settings(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        unknown = [name for name in values if name not in cls.model_fields]
        if unknown:
            known = ", ".join(name for name in cls.model_fields if name != "architecture")
            raise ValueError(
                f"{unknown[0]} is not a setting of {values.get('architecture')}, which has {known}"
            )
        return values

    @model_validator(mode="after")
    def _check_features(self) -> BaselineConfig:
        widest = self.features * 2 ** (self.depth - 1)
        if widest > MOST_FEATURES:
            raise ValueError(
                f"features {self.features} and depth {self.depth} give {widest} features at the "
                f"bottom, more than {MOST_FEATURES}"
            )
        return self

    @property
    def output_dimensions(self) -> int:
        """Spatial axes of the output: 2 for a projection."""
        return self.dimensions

    @property
    def multiple(self) -> tuple[int, ...]:
        """What each spatial size ((z,) y, x) of an input has to be a multiple of."""
        return (2 ** (self.depth - 1),) * self.dimensions

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of the network's class, in plain types (for YAML)."""
        return self.model_dump(mode="json", exclude={"architecture"})

    def network_class(self) -> type[Baseline] | type[CAREProjection]:
        """The network's class."""
        from gvtzoo.networks import baselines

        found: type[Baseline] | type[CAREProjection] = getattr(baselines, self.network_name)
        return found

    def build(self) -> Baseline | CAREProjection:
        """The network, with freshly initialized weights, in training mode."""
        return self.network_class()(**self.arguments())


class FNetConfig(BaselineConfig):
    """Settings of `gvtzoo.networks.baselines.FNet`."""

    network_name = "FNet"
    architecture: Literal["fnet"] = "fnet"
    depth: int = Field(5, ge=2, le=8)


class CAREUNetConfig(BaselineConfig):
    """Settings of `gvtzoo.networks.baselines.CAREUNet`."""

    network_name = "CAREUNet"
    architecture: Literal["care_unet"] = "care_unet"
    depth: int = Field(3, ge=2, le=8)


class CAREProjectionConfig(BaselineConfig):
    """Settings of `gvtzoo.networks.baselines.CAREProjection`."""

    network_name = "CAREProjection"
    architecture: Literal["care_projection"] = "care_projection"
    depth: int = Field(3, ge=2, le=8)

    @model_validator(mode="after")
    def _check_stack(self) -> CAREProjectionConfig:
        if (self.dimensions, self.input_channels) != (3, 1):
            raise ValueError(
                "architecture 'care_projection' takes stacks of one channel: dimensions 3 and "
                f"input_channels 1, not {self.dimensions} and {self.input_channels}"
            )
        return self

    @property
    def output_dimensions(self) -> int:
        """Spatial axes of the output."""
        return 2

    @property
    def multiple(self) -> tuple[int, ...]:
        """What each spatial size (z, y, x) of an input has to be a multiple of."""
        from gvtzoo.networks.baselines.care import PROJECTION_DEPTH, PROJECTION_POOLING

        in_plane = max(PROJECTION_POOLING ** (PROJECTION_DEPTH - 1), 2 ** (self.depth - 1))
        return (1, in_plane, in_plane)


class RSGUNetConfig(BaselineConfig):
    """Settings of `gvtzoo.networks.baselines.RSGUNet`."""

    network_name = "RSGUNet"
    sees_whole_image = True
    architecture: Literal["rsgu_net"] = "rsgu_net"
    range_scaling: bool = False

    @model_validator(mode="after")
    def _check_range_scaling(self) -> RSGUNetConfig:
        if self.range_scaling and self.input_channels != self.output_channels:
            raise ValueError(
                f"range_scaling needs as many input_channels ({self.input_channels}) as "
                f"output_channels ({self.output_channels})"
            )
        return self


class CENetConfig(BaselineConfig):
    """Settings of `gvtzoo.networks.baselines.CENet`."""

    network_name = "CENet"
    architecture: Literal["ce_net"] = "ce_net"
    depth: int = Field(4, ge=2, le=4)


BASELINES: dict[str, type[BaselineConfig]] = {
    "fnet": FNetConfig,
    "care_unet": CAREUNetConfig,
    "care_projection": CAREProjectionConfig,
    "rsgu_net": RSGUNetConfig,
    "ce_net": CENetConfig,
}
GVTNETS = ("gvtnet", "projection")


def network_config(values: Any) -> NetworkConfig | BaselineConfig:
    """The configuration of the architecture that settings name; GVTNet's without a name.

    Raises
    ------
    pydantic.ValidationError, ValueError
        For an unknown architecture, and what its configuration refuses.
    """
    if isinstance(values, str):
        values = {"architecture": values}
    if isinstance(values, (NetworkConfig, BaselineConfig)):
        return values
    if not isinstance(values, Mapping):
        raise ValueError("settings or the name of an architecture are needed")
    name = values.get("architecture", "gvtnet")
    if not isinstance(name, str) or name not in (*GVTNETS, *BASELINES):
        known = ", ".join((*GVTNETS, *BASELINES))
        raise ValueError(f"there is no architecture {name!r}: choose one of {known}")
    chosen: type[NetworkConfig] | type[BaselineConfig] = BASELINES.get(name, NetworkConfig)
    return chosen.model_validate(values)


AnyNetworkConfig = Annotated[
    NetworkConfig
    | FNetConfig
    | CAREUNetConfig
    | CAREProjectionConfig
    | RSGUNetConfig
    | CENetConfig,
    BeforeValidator(network_config),
]
"""Of a recipe or a package: settings, the bare name of an architecture, or a configuration."""
