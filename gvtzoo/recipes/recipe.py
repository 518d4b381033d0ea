"""Recipes: everything that defines a training, in one YAML file checked on loading.

A recipe may extend another (``extends: denoising/base``): mappings are merged, everything else is
replaced. ``preset`` under ``network`` starts from one of the paper's networks; ``architecture``, or
a bare name instead of the settings, chooses a network that the paper compares with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.layered_yaml import describe, merge, read_resolved
from gvtzoo.core.strict import Strict
from gvtzoo.core.suggest import nearest
from gvtzoo.core.yaml import DEEPEST, read_yaml
from gvtzoo.images.normalization import NormalizationConfig
from gvtzoo.networks.baseline_config import BASELINES, AnyNetworkConfig
from gvtzoo.networks.config import PRESETS
from gvtzoo.recipes.files import find_recipe, read_recipe
from gvtzoo.recipes.layers import layer, named
from gvtzoo.recipes.metadata import ModelMetadata, Task


class CameraNoise(Strict):
    """Noise that a camera makes, added to clean images to get the input of a denoising network.

    Attributes
    ----------
    photons : tuple of float
        Noise levels: photons at the clean image's 99.8 percentile.
    read_noise : float
        Standard deviation of the read-out, in photo-electrons.
    offset : float
        What the camera adds to every voxel, in counts.
    """

    photons: tuple[float, ...] = Field(min_length=1)
    read_noise: float = Field(2.0, ge=0)
    offset: float = Field(100.0, ge=0)


class Surface(Strict):
    """Stacks made from a surface's height map and cells (`gvtzoo.training.data.surface`).

    Attributes
    ----------
    height, cells : str
        Names of the two images in the data folder: planes, and 0 where cells meet.
    planes : int
        Of the stacks.
    margin : int
        Planes above the surface's highest point.
    attenuation : float
        Planes over which light falls to 1/e.
    """

    height: str = "heightmap.tif"
    cells: str = "segmentation.tif"
    planes: int = Field(32, ge=1)
    margin: int = Field(3, ge=0)
    attenuation: float = Field(25.0, gt=0)


WithoutTruth = Literal["frames", "blind_spots"]
Range = tuple[float, float]


class Simulation(Strict):
    """Training patches made on the training device, every one with another noise and geometry.

    Ranges are drawn from evenly in octaves (log-uniform), each patch anew. Validation and test
    images stay those of `CameraNoise`. `augmentation` is not for such patches; several processes
    see other patches than one would.

    Attributes
    ----------
    photons : tuple of float
        Range of photons at the clean image's 99.8 percentile.
    read_noise : tuple of float
        Range of its standard deviation, in photo-electrons.
    gain : tuple of float
        Range of counts per photo-electron, for most patches; counts are whole numbers.
    correlation : float
        Some patches have noise blurred in the plane, at most with this standard deviation (in
        voxels, up to 1), as scanners and resampling leave it.
    hot_pixels : float
        Largest share of voxels that shine by themselves.
    zoom : tuple of float
        Range of the magnification.
    anisotropy : tuple of float
        Range of what z is magnified by in addition.
    mix : float
        Share of the patches that are mixed with another one.
    halve : bool
        Whether stacks are taken at half their resolution in the plane too, where they have less
        noise of their own.
    grain : tuple of float
        Range of photons that some clean stacks are taken to be exposed with: their own noise, as
        any real stack has it, stays in the target. So a network learns to leave images of much
        light as they are.
    synthetic : float
        Share of the patches that are cut from synthetic stacks
        (`gvtzoo.training.data.structures`).
    synthetic_stacks : int
        How many of these are made.
    """

    photons: Range = (2.0, 200.0)
    read_noise: Range = (0.5, 3.0)
    gain: Range = (0.5, 8.0)
    correlation: float = Field(0.7, ge=0, le=1)
    hot_pixels: float = Field(5e-4, ge=0, le=0.01)
    zoom: Range = (0.7, 1.6)
    anisotropy: Range = (0.7, 1.6)
    mix: float = Field(0.2, ge=0, le=1)
    halve: bool = True
    grain: Range = (40.0, 1500.0)
    synthetic: float = Field(0.5, ge=0, le=1)
    synthetic_stacks: int = Field(60, ge=0, le=1000)

    @model_validator(mode="after")
    def _check_ranges(self) -> Simulation:
        for name in ("photons", "read_noise", "gain", "zoom", "anisotropy", "grain"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(
                    f"{name} [{low:g}, {high:g}] has to be two numbers above 0, in order"
                )
        return self

    @model_validator(mode="after")
    def _check_synthetic(self) -> Simulation:
        if self.synthetic > 0 and self.synthetic_stacks == 0:
            raise ValueError("synthetic needs synthetic_stacks, at least 1")
        return self


Region = dict[Literal["z", "y", "x"], tuple[int, int]]


class DataConfig(Strict):
    """Where images come from, beyond the folder that the user names.

    Attributes
    ----------
    noise : CameraNoise, optional
        The folder holds clean images; noisy ones are made from them, anew for every patch.
    simulation : Simulation, optional
        Training patches are made on the training device, with noise of all levels.
    surface : Surface, optional
        The folder holds a surface's geometry; stacks of it are made, and noise is added to them.
    regions : mapping, optional
        For sets of few large images: which part of every image belongs to ``train``, ``val`` and
        ``test``, as half-open ranges of voxels along axes.
    channel : int or str, optional
        The channel to read of source images that have several.
    target_channel : int or str, optional
        The same for the targets.
    files : mapping, optional
        Lists of the images of ``train``, ``val`` and ``test``: CSV files below ``recipes/`` (or
        the data folder) as `gvtzoo.training.data.pairs` reads them, with paths below the data
        folder. A data folder with ``source/`` and ``target/`` of its own is taken as it is.
    target_folder : str
        The name of the targets' folder, beside ``source/``.
    pixel_size : float, optional
        In-plane pixel size, in µm, that images are resampled to.
    recorded_pixel_size : float, optional
        In-plane pixel size of the files, in µm, whatever they say themselves.
    planes_as_channels : bool
        Whether the planes of a stack are the channels of a 2D network's input.
    without_truth : {"frames", "blind_spots"}, optional
        The images are noisy, and there is no truth: targets are the neighbouring frames of a time
        series, or voxels that the source does not show (`gvtzoo.training.data.noisy`).
    noisier_targets : bool
        Whether targets may be noisier than their sources, which else is taken for a mistake.
    """

    noise: CameraNoise | None = None
    simulation: Simulation | None = None
    surface: Surface | None = None
    regions: dict[Literal["train", "val", "test"], Region] | None = None
    channel: int | str | None = None
    target_channel: int | str | None = None
    files: dict[Literal["train", "val", "test"], str] | None = None
    target_folder: str = "target"
    pixel_size: float | None = Field(None, gt=0)
    recorded_pixel_size: float | None = Field(None, gt=0)
    planes_as_channels: bool = False
    without_truth: WithoutTruth | None = None
    noisier_targets: bool = False


class AugmentationConfig(Strict):
    """Random changes of training patches; the paper used none.

    Attributes
    ----------
    flips : bool
        Mirror along y and x.
    turns : bool
        Turn by multiples of 90° in the yx plane (patches have to be square in yx).
    intensity : float
        The source is multiplied with a number between 1 − `intensity` and 1 + `intensity`, and as
        much at most is added (in normalized units).
    noise : float
        Standard deviation of normal noise that is added to the source (in normalized units).
    new_noise : float
        Share of the patches of pairs whose noise is made anew, such as the pairs tell it to be
        (`gvtzoo.training.data.recording`).
    rehearsal : float
        Share of the patches that show synthetic structures, with such noise
        (`gvtzoo.training.data.rehearsal`).
    """

    flips: bool = False
    turns: bool = False
    intensity: float = Field(0.0, ge=0, lt=1)
    noise: float = Field(0.0, ge=0)
    new_noise: float = Field(0.0, ge=0, le=1)
    rehearsal: float = Field(0.0, ge=0, le=1)


class ScheduleConfig(Strict):
    """The learning rate over the steps.

    Attributes
    ----------
    kind : {"constant", "step", "cosine"}
        "step": times `factor` every `every` steps; "cosine": down to zero at the last step.
    factor, every
        Of "step".
    warm_up : int
        Steps over which the rate rises linearly from zero.
    """

    kind: Literal["constant", "step", "cosine"] = "constant"
    factor: float = Field(0.7, gt=0, le=1)
    every: int = Field(10_000, ge=1)
    warm_up: int = Field(0, ge=0)


class Adversarial(Strict):
    """A discriminator beside the loss (`gvtzoo.training.adversarial`).

    Attributes
    ----------
    weight : float
        Of what the network learns from it, against the loss.
    learning_rate : float
        Of the discriminator.
    features : int
        Of its first level.
    """

    weight: float = Field(0.01, gt=0)
    learning_rate: float = Field(2e-4, gt=0)
    features: int = Field(32, ge=1)


Loss = Literal["mse", "mae", "mae_with_uncertainty", "mse_with_uncertainty"]


class TrainingConfig(Strict):
    """How the network is trained.

    Attributes
    ----------
    patch : tuple of int
        Size of the training patches, (z,) y, x, in voxels of the source.
    batch_size : int
    steps : int
        Optimizer steps in all.
    learning_rate : float
    betas : tuple of float
        Of Adam.
    schedule : ScheduleConfig
    loss : {"mse", "mae", "mae_with_uncertainty", "mse_with_uncertainty"}
    sigma_weight : float
        Of losses with uncertainty: 0 for the likelihood as the paper has it, which cares most
        about dark voxels, 1 for all voxels alike (see `gvtzoo.training.losses`).
    sigma_factor : float
        What the network's σ is multiplied with, in the loss and in predictions; fine-tuning sets it
        so that σ has the size of the errors.
    adversarial : Adversarial, optional
        Adds a discriminator, for sharper predictions; the paper's Supplementary Table 6.
    balance : bool
        Whether each patch's loss is divided by the root mean square of its source's error, so
        that patches of all noise levels count alike. Source and target need the same units.
    gradient_clip : float, optional
        Largest norm of the gradient.
    ema : float, optional
        The weights that are validated and kept are the exponential moving average of the trained
        ones, with this decay per step (such as 0.999).
    minutes : float, optional
        Training time after which the training ends, whatever step it is at; a cosine schedule
        then ends there too.
    validation : bool
        Whether there are validation images, by which the best weights are chosen. Without, the
        last weights are kept.
    validate_every : int
        Steps between validations (on whole images) and checkpoints.
    early_stopping : int, optional
        Validations without improvement after which the training ends.
    freeze : {"none", "encoder", "all-but-last"}
        What keeps the weights it starts from: nothing, everything before the bottom block, or
        everything but the last level.
    tensorboard : bool
        Whether losses and pictures are written for TensorBoard too (``gvtzoo[tensorboard]``).
    keep : {"best", "last"}
        Which weights are kept: those with the lowest validation loss, or the last.
    mantissa_bits : int, optional
        The kept weights are rounded to as many binary digits behind the first (23 is all of
        float32), for packages that take less space.
    precision : str
        As Lightning names them.
    seed : int
    workers : int
        Processes that cut patches; 0 for the main one.
    """

    patch: tuple[int, ...] = (32, 64, 64)
    batch_size: int = Field(16, ge=1)
    steps: int = Field(100_000, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    betas: tuple[float, float] = (0.9, 0.999)
    schedule: ScheduleConfig = ScheduleConfig()
    loss: Loss = "mse"
    sigma_weight: float = Field(0.0, ge=0, le=1)
    sigma_factor: float = Field(1.0, gt=0, allow_inf_nan=False)
    adversarial: Adversarial | None = None
    balance: bool = False
    gradient_clip: float | None = Field(None, gt=0)
    ema: float | None = Field(None, gt=0, lt=1)
    minutes: float | None = Field(None, gt=0)
    validation: bool = True
    validate_every: int = Field(1000, ge=1)
    early_stopping: int | None = Field(None, ge=1)
    freeze: Literal["none", "encoder", "all-but-last"] = "none"
    tensorboard: bool = False
    keep: Literal["best", "last"] = "best"
    mantissa_bits: int | None = Field(None, ge=5, le=23)
    precision: Literal["32", "bf16-mixed", "16-mixed"] = "32"
    seed: int = Field(0, ge=0, lt=2**32)
    workers: int = Field(0, ge=0)


class Recipe(Strict):
    """A training: task, network, data, normalization, training settings, and the model's card."""

    name: str
    task: Task
    description: str = ""
    network: AnyNetworkConfig
    data: DataConfig = DataConfig()
    normalization: NormalizationConfig = NormalizationConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    training: TrainingConfig = TrainingConfig()
    model: ModelMetadata | None = None

    @model_validator(mode="before")
    @classmethod
    def _start_network(cls, values: Any) -> Any:
        """A bare name is an architecture; a preset is what its settings change."""
        if not isinstance(values, Mapping):
            return values
        values = named(values)
        network = values.get("network")
        if not isinstance(network, Mapping):
            return values
        if "preset" in network:
            return {**values, "network": _from_preset(network)}
        if "architecture" in network:
            return {**values, "network": {**_dimensions(values), **network}}
        return values

    @model_validator(mode="after")
    def _check_patch(self) -> Recipe:
        patch, network = self.training.patch, self.network
        if len(patch) != network.dimensions:
            raise ValueError(
                f"training.patch {list(patch)} needs {network.dimensions} sizes for a "
                f"{network.dimensions}D network"
            )
        for axis, size, multiple in zip(
            "zyx"[-len(patch) :], patch, self.network.multiple, strict=True
        ):
            if size < multiple or size % multiple:
                raise ValueError(
                    f"training.patch {list(patch)}: {axis} has to be a multiple of {multiple} "
                    f"(depth {network.depth}), not {size}"
                )
        if self.augmentation.turns and patch[-1] != patch[-2]:
            raise ValueError(
                f"augmentation.turns needs square patches, not {patch[-2]}×{patch[-1]}"
            )
        return self

    @model_validator(mode="after")
    def _check_early_stopping(self) -> Recipe:
        if self.training.early_stopping is not None and not self.training.validation:
            raise ValueError("training.early_stopping needs training.validation: true")
        return self

    @model_validator(mode="after")
    def _check_projection(self) -> Recipe:
        if self.task == "projection" and self.network.output_dimensions != 2:
            raise ValueError(
                f"task projection needs a network that gives a 2D image, not "
                f"{self.network.architecture}: choose projection or care_projection"
            )
        return self

    @model_validator(mode="after")
    def _check_surface(self) -> Recipe:
        if self.data.surface is None:
            return self
        if self.data.noise is None:
            raise ValueError("data.surface needs data.noise, which makes the stacks noisy")
        if self.network.output_dimensions != 2:
            raise ValueError("data.surface needs a network that gives a 2D image")
        return self

    @model_validator(mode="after")
    def _check_simulation(self) -> Recipe:
        if self.data.simulation is None:
            return self
        if self.data.noise is None or self.data.surface is not None:
            raise ValueError("data.simulation needs data.noise, and no data.surface")
        if self.normalization.source.kind != "percentile":
            raise ValueError("data.simulation needs normalization.source of kind percentile")
        if self.normalization.target != "as_source":
            raise ValueError("data.simulation needs normalization.target: as_source")
        return self

    @model_validator(mode="after")
    def _check_freeze(self) -> Recipe:
        if self.training.freeze != "none" and self.network.architecture in BASELINES:
            raise ValueError(
                f"training.freeze {self.training.freeze!r} is for GVTNets: "
                f"{self.network.architecture} is trained as a whole"
            )
        return self

    @model_validator(mode="after")
    def _check_loss(self) -> Recipe:
        if self.training.loss.endswith("uncertainty") and not self.network.uncertainty:
            raise ValueError(
                f"training.loss {self.training.loss!r} needs network.uncertainty: true"
            )
        return self


def _from_preset(network: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of one of the paper's networks, and what is changed of them."""
    settings = dict(network)
    preset = settings.pop("preset")
    if not isinstance(preset, str) or preset not in PRESETS:
        raise ValueError(f"network.preset is {preset!r}: choose one of {', '.join(PRESETS)}")
    return merge(PRESETS[preset].model_dump(mode="json"), settings)


def _dimensions(values: Mapping[str, Any]) -> dict[str, int]:
    """As many as the training patches have axes."""
    training = values.get("training")
    patch = training.get("patch") if isinstance(training, Mapping) else None
    return {"dimensions": len(patch)} if isinstance(patch, (list, tuple)) else {}


def load_recipe(name: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """A recipe by name or path, checked.

    Parameters
    ----------
    name : str or path
        A path to a YAML file, or a name under ``recipes/`` such as ``denoising/nuclei``.
    overrides : iterable of str
        ``key.sub=value`` settings that replace the file's; values are YAML.

    Returns
    -------
    Recipe

    Raises
    ------
    GvtzooError
        When there is no such recipe, or a setting is wrong: with its line and what is allowed.
    """
    path = find_recipe(name)
    return _checked(path, read_recipe(path), overrides)


def load_resolved_recipe(path: Path, overrides: Iterable[str] = ()) -> Recipe:
    """A recipe from a file that has all of it, as run folders hold it.

    Parameters
    ----------
    path : Path
    overrides : iterable of str
        As of `load_recipe`.

    Raises
    ------
    GvtzooError
        As of `load_recipe`, and when the file extends another.
    """
    return _checked(path, read_resolved(path), overrides)


def _checked(path: Path, values: Mapping[str, Any], overrides: Iterable[str]) -> Recipe:
    try:
        return build_recipe(values, overrides)
    except ValidationError as error:
        raise GvtzooError(f"{path}: {describe(error, path)}{_meant(error)}") from error


def build_recipe(values: Mapping[str, Any], overrides: Iterable[str] = ()) -> Recipe:
    """A recipe of values, with ``key.sub=value`` settings that replace them.

    Raises
    ------
    pydantic.ValidationError
        When a value is wrong.
    GvtzooError
        When a setting is not of that form, or is what is wrong.
    """
    changed, typed = values, list(overrides)
    for override in typed:
        changed = layer(changed, parse_override(override))
    try:
        return Recipe.model_validate(changed)
    except ValidationError as error:
        wrong = _wrong_settings(error, values, typed)
        if not wrong:
            raise
        raise GvtzooError(f"--set {wrong}: {describe(error)}{_meant(error)}") from error


def with_settings(recipe: Recipe, **changes: Mapping[str, Any]) -> Recipe:
    """A recipe with other settings in some of its sections, checked as when it was read.

    Parameters
    ----------
    recipe : Recipe
    **changes : mapping
        By section: ``training={"steps": 300}``. A setting is replaced as a whole, all others stay.

    Raises
    ------
    pydantic.ValidationError
        When a value is wrong.
    """
    values = recipe.model_dump(mode="json")
    sections = {name: {**values[name], **settings} for name, settings in changes.items()}
    return build_recipe({**values, **sections})


def _wrong_settings(error: ValidationError, values: Mapping[str, Any], typed: list[str]) -> str:
    """What was typed that is wrong; nothing where it is the values."""
    place = [str(key) for key in error.errors()[0]["loc"]]
    for text in reversed(typed):  # the last one holds
        keys = iter(place)
        if place and all(key in keys for key in text.partition("=")[0].strip().split(".")):
            return text
    if not typed:
        return ""
    try:
        Recipe.model_validate(values)
    except ValidationError:
        return ""
    return " ".join(typed)


def _meant(error: ValidationError) -> str:
    """The setting that an unknown one may have been meant to be."""
    first = error.errors()[0]
    if first["type"] != "extra_forbidden":
        return ""
    schema = Recipe.model_json_schema()
    parts = [schema, *schema.get("$defs", {}).values()]
    known = {name for part in parts for name in part.get("properties", {})}
    near = nearest(str(first["loc"][-1]), sorted(known))
    return f"; did you mean {near}?" if near else ""


def to_yaml(recipe: Recipe) -> str:
    """A recipe with everything that it extends, as YAML."""
    values = recipe.model_dump(mode="json", exclude_none=True)
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, default_flow_style=None)


def parse_override(text: str) -> dict[str, Any]:
    """``a.b=1`` → ``{"a": {"b": 1}}``.

    Raises
    ------
    GvtzooError
        When the text is not of this form, or has too many keys in each other.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise GvtzooError(f"--set {text!r} is not of the form key.sub=value")
    parts = key.strip().split(".")
    if len(parts) > DEEPEST:
        raise GvtzooError(f"--set {text!r} has {len(parts)} keys in each other")
    parsed: Any = parse_scalar(value)
    for part in reversed(parts):
        parsed = {part: parsed}
    return parsed


def parse_scalar(text: str) -> Any:
    """A YAML value; numbers such as ``1e-4`` too, which YAML 1.1 takes for text.

    Raises
    ------
    GvtzooError
        When it is not valid YAML.
    """
    if "e" in text.lower() and text.strip()[-1].isdigit():
        with suppress(ValueError):
            return float(text)
    try:
        return read_yaml(text)
    except GvtzooError as error:
        raise GvtzooError(f"{text!r} is not a YAML value: {error}") from error
