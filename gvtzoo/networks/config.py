"""The configuration of a network: what recipes name, packages carry, and presets fix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from gvtzoo.core.strict import Strict

if TYPE_CHECKING:
    from gvtzoo.networks.pretrained import GVTNet, ProjectionGVTNet

DownSampling = Literal["convolution", "residual", "gvto_v1", "gvto_v2"]
UpSampling = Literal[
    "transposed_convolution", "interpolation", "gvto_v1", "gvto_v2", "gvto_v2_interpolation"
]
BottomBlock = Literal["gvto", "residual"]

# Far beyond what is useful; without limits, a few words could ask for any amount of memory.
MOST_FEATURES = 8192
MOST_BLOCKS = 64
LARGEST_KERNEL = 31
# As in `gvtzoo.networks.projection`, which packages carry alone and which needs PyTorch.
PROJECTION_FEATURES = 8


class AttentionConfig(Strict):
    """Settings of one kind of global voxel transformer operator.

    Attributes
    ----------
    heads : int
        Heads that the channels are split over.
    key_ratio, value_ratio : int
        Queries and keys have ``features / key_ratio`` channels, values ``features / value_ratio``.
    softmax : bool
        Attention with softmax; without it, attention is linear in the number of voxels.
    bias : bool
        Whether the convolutions of the attention have a bias.
    dropout : float
        Of the attended voxels, in training.
    """

    heads: int = Field(1, ge=1)
    key_ratio: int = Field(1, ge=1)
    value_ratio: int = Field(1, ge=1)
    softmax: bool = False
    bias: bool = True
    dropout: float = Field(0.0, ge=0, lt=1)


class AttentionConfigs(Strict):
    """Settings of the size-preserving, down-sampling and up-sampling operators."""

    same: AttentionConfig = AttentionConfig()
    down: AttentionConfig = AttentionConfig()
    up: AttentionConfig = AttentionConfig()


class NetworkConfig(Strict):
    """Everything that defines a network's architecture.

    The fields are the arguments of `gvtzoo.networks.GVTNet`; see there. `architecture` is
    ``"gvtnet"``, or ``"projection"`` for the 3D → 2D network, whose `dimensions` is 3 (the stack).
    Networks of other papers have configurations of their own (`gvtzoo.networks.baseline_config`).

    Raises
    ------
    pydantic.ValidationError
        For unknown names, lists of the wrong length, channels that cannot be split, and sizes
        beyond all use.
    """

    architecture: Literal["gvtnet", "projection"] = "gvtnet"
    dimensions: Literal[2, 3] = 3
    input_channels: int = Field(1, ge=1, le=MOST_FEATURES)
    output_channels: int = Field(1, ge=1, le=MOST_FEATURES)
    depth: int = Field(4, ge=1, le=8)
    features: int = Field(32, ge=1, le=MOST_FEATURES)
    encoder_blocks: tuple[int, ...] = (1, 0, 0, 0)
    downsampling: tuple[DownSampling, ...] = ("residual", "residual", "residual")
    bottom: tuple[BottomBlock, ...] = Field(("gvto",), max_length=MOST_BLOCKS)
    upsampling: tuple[UpSampling, ...] = ("transposed_convolution",) * 3
    decoder_blocks: tuple[int, ...] = (1, 1, 1)
    skip: Literal["add", "concatenate"] = "add"
    activation: Literal["relu", "relu6"] = "relu6"
    batch_norm: bool = True
    attention: AttentionConfigs = AttentionConfigs()
    output_kernel_size: int = Field(3, ge=1, le=LARGEST_KERNEL)
    output_bias: bool = True
    add_input: bool = False
    uncertainty: bool = False
    sigma_input: Literal["features", "activated"] = "features"  # packages without it have this
    fixed_attention: bool = False
    grain: float = Field(0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _check_lengths(self) -> NetworkConfig:
        lengths = {
            "encoder_blocks": self.depth,
            "downsampling": self.depth - 1,
            "upsampling": self.depth - 1,
            "decoder_blocks": self.depth - 1,
        }
        for name, length in lengths.items():
            values = getattr(self, name)
            if len(values) != length:
                raise ValueError(
                    f"{name} has {len(values)} entries {list(values)}, "
                    f"but depth {self.depth} needs {length}"
                )
        return self

    @model_validator(mode="after")
    def _check_blocks(self) -> NetworkConfig:
        for name in ("encoder_blocks", "decoder_blocks"):
            if min(getattr(self, name), default=0) < 0:
                raise ValueError(f"{name} {list(getattr(self, name))} cannot be negative")
            if max(getattr(self, name), default=0) > MOST_BLOCKS:
                raise ValueError(
                    f"{name} {list(getattr(self, name))} has more than {MOST_BLOCKS} blocks"
                )
        if self.skip == "concatenate" and 0 in self.decoder_blocks:
            raise ValueError(
                "skip 'concatenate' needs at least one residual block at each decoder level, "
                f"not decoder_blocks {list(self.decoder_blocks)}"
            )
        if self.output_kernel_size % 2 == 0:
            raise ValueError(f"output_kernel_size {self.output_kernel_size} has to be odd")
        return self

    @model_validator(mode="after")
    def _check_channels(self) -> NetworkConfig:
        widest = self.features * 2 ** (self.depth - 1)
        if widest > MOST_FEATURES:
            raise ValueError(
                f"features {self.features} and depth {self.depth} give {widest} features at the "
                f"bottom, more than {MOST_FEATURES}"
            )
        if self.add_input and self.input_channels != self.output_channels:
            raise ValueError(
                f"add_input needs as many input_channels ({self.input_channels}) as "
                f"output_channels ({self.output_channels})"
            )
        if self.grain and not self.add_input:
            raise ValueError(f"grain {self.grain:g} needs add_input: it is kept of the input")
        if self.architecture == "projection" and (self.dimensions, self.input_channels) != (3, 1):
            raise ValueError(
                "architecture 'projection' takes stacks of one channel: "
                f"dimensions 3 and input_channels 1, not {self.dimensions} and "
                f"{self.input_channels}"
            )
        if self.architecture == "projection" and self.depth < 2:
            raise ValueError(
                f"architecture 'projection' needs a depth of at least 2, not {self.depth}"
            )
        return self

    @model_validator(mode="after")
    def _check_attention(self) -> NetworkConfig:
        for place, features, version in self._operators():
            settings = getattr(self.attention, place)
            for name in ("key_ratio", "value_ratio"):
                ratio = getattr(settings, name)
                if features % (ratio * settings.heads):
                    raise ValueError(
                        f"attention.{place}: {features} features cannot be divided by "
                        f"{name} {ratio} × {settings.heads} heads"
                    )
            if version.startswith("gvto_v2") and settings.key_ratio != 1:
                raise ValueError(
                    f"attention.{place}: a GVTO v2 adds its queries, so key_ratio has to be 1, "
                    f"not {settings.key_ratio}"
                )
        return self

    def _operators(self) -> list[tuple[str, int, str]]:
        """Each GVTO's place, output features and version."""
        widths = [self.features * 2**level for level in range(self.depth)]
        found: list[tuple[str, int, str]] = [
            ("same", widths[-1], name) for name in self.bottom if name == "gvto"
        ]
        found += [
            ("down", width, name)
            for name, width in zip(self.downsampling, widths[1:], strict=True)
            if name.startswith("gvto")
        ]
        found += [
            ("up", width, name)
            for name, width in zip(self.upsampling, reversed(widths[:-1]), strict=True)
            if name.startswith("gvto")
        ]
        if self.architecture == "projection":
            found += [("same", PROJECTION_FEATURES, "gvto"), ("up", PROJECTION_FEATURES, "gvto_v2")]
        return found

    @property
    def sees_whole_image(self) -> bool:
        """Whether there are operators, which look at every voxel."""
        return bool(self._operators()) and not self.fixed_attention

    @property
    def has_softmax(self) -> bool:
        """Whether an operator's attention has a softmax."""
        return any(getattr(self.attention, place).softmax for place, *_ in self._operators())

    @property
    def output_dimensions(self) -> int:
        """Spatial axes of the output: 2 for a projection."""
        return 2 if self.architecture == "projection" else self.dimensions

    @property
    def multiple(self) -> tuple[int, ...]:
        """What each spatial size ((z,) y, x) of an input has to be a multiple of."""
        if self.architecture == "projection":
            return (1, 4 ** (self.depth - 1), 4 ** (self.depth - 1))
        return (2 ** (self.depth - 1),) * self.dimensions

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of the network's class, in plain types (for YAML)."""
        return self.model_dump(mode="json", exclude={"architecture"})

    def network_class(self) -> type[GVTNet] | type[ProjectionGVTNet]:
        """The network's class."""
        if self.architecture == "projection":
            from gvtzoo.networks.pretrained import ProjectionGVTNet

            return ProjectionGVTNet
        from gvtzoo.networks.pretrained import GVTNet

        return GVTNet

    def build(self) -> GVTNet | ProjectionGVTNet:
        """The network, with freshly initialized weights, in training mode."""
        return self.network_class()(**self.arguments())


LABEL_FREE = NetworkConfig()
"""Fluorescence from transmitted light (Supplementary Fig. 2): 6,172,225 parameters."""

DENOISING = NetworkConfig(
    depth=3,
    encoder_blocks=(1, 1, 0),
    downsampling=("convolution", "convolution"),
    upsampling=("gvto_v2", "gvto_v2"),
    decoder_blocks=(1, 1),
    skip="concatenate",
    batch_norm=False,
    attention=AttentionConfigs(
        same=AttentionConfig(heads=2), down=AttentionConfig(heads=2), up=AttentionConfig(heads=2)
    ),
    output_kernel_size=1,
    output_bias=False,
    add_input=True,
)
"""Denoising of stacks (Supplementary Fig. 4): 1,347,328 parameters, 32 more with σ."""

PROJECTION = DENOISING.model_copy(update={"architecture": "projection"})
"""Surface projection and denoising (Supplementary Fig. 10): 538,873 parameters."""

PRESETS = {"label_free": LABEL_FREE, "denoising": DENOISING, "projection": PROJECTION}
