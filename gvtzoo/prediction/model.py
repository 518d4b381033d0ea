"""Models that predict: `gvtzoo.load(…).predict(image)`.

An image is cut into frames, one for each time and position (`gvtzoo.prediction.frames`); each is
predicted whole, in blocks, or exactly tile by tile (`gvtzoo.prediction.exact.algorithm`).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.progress import Progress, within
from gvtzoo.images.checks import BlankImageError, check_image
from gvtzoo.images.lazy import Box, LazyImage, View, labelled, whole
from gvtzoo.metrics.calibration import laplace_multiple
from gvtzoo.metrics.noise import noise_level
from gvtzoo.packages.config import PackageConfig
from gvtzoo.prediction.blocks import predict_blocks
from gvtzoo.prediction.engines import Engine, Engines, Results
from gvtzoo.prediction.fit import Fit, OnFit, check_fit, judge
from gvtzoo.prediction.frames import (
    Clipped,
    DenormalizedWriter,
    NormalizedInput,
    Target,
    frames_of,
    targets_of,
)
from gvtzoo.prediction.lazy_network import LazyNetwork
from gvtzoo.prediction.memory import available_memory, whole_image_memory, within_memory
from gvtzoo.prediction.region import Attention, RegionOfImage, place_region
from gvtzoo.prediction.resampling import (
    Resampling,
    choose_resampling,
    in_network_pixels,
    tell,
    with_pixel_size,
)
from gvtzoo.prediction.settings import Settings, as_data_array

if TYPE_CHECKING:
    from gvtzoo.networks import Network

log = logging.getLogger(__name__)


MOST_NAMED = 6  # blank frames
DEFAULT_BLOCK = {2: (512, 512), 3: (32, 128, 128)}
DEFAULT_OVERLAP = {2: (64, 64), 3: (8, 32, 32)}


class Model:
    """A network with everything that prediction needs.

    Parameters
    ----------
    network : Network or LazyNetwork
        In float32; it is switched to evaluation.
    config : PackageConfig
    name : str

    Examples
    --------
    >>> import gvtzoo
    >>> model = gvtzoo.load("gvtnet-denoising-nuclei")
    >>> model.predict(np.random.default_rng(0).normal(size=(8, 32, 32)), axes="ZYX").dims
    ('z', 'y', 'x')
    """

    def __init__(
        self, network: Network | LazyNetwork, config: PackageConfig, name: str = "model"
    ) -> None:
        self._network = (
            network if isinstance(network, LazyNetwork) else LazyNetwork.of(network.eval())
        )
        self.config = config
        self.name = name
        self.engines = Engines()
        self._told_mask = False

    def __repr__(self) -> str:
        axes, output_axes = ("".join(axes).upper() for axes in (self.axes, self.output_axes))
        parameters = sum(parameter.numel() for parameter in self.network.parameters())
        return (
            f"<{type(self).__name__} {self.name}: {self.config.task}, {axes} → {output_axes}, "
            f"{self.config.normalization.text}, {parameters:,} parameters>"
        )

    @property
    def network(self) -> Network:
        """The PyTorch module, built when it is first asked for."""
        return self._network.network

    def engine(self, settings: Settings) -> Engine:
        """What computes the network by these settings; kept for the next prediction."""
        return self.engines.of(self._network, settings)

    @property
    def axes(self) -> tuple[str, ...]:
        """Axes of the network's input, without batch."""
        spatial = ("z", "y", "x")[-self.config.network.dimensions :]
        return ("c", *spatial) if self.config.network.input_channels > 1 else spatial

    @property
    def output_axes(self) -> tuple[str, ...]:
        """Axes of the network's output, without batch."""
        spatial = ("z", "y", "x")[-self.config.network.output_dimensions :]
        return ("c", *spatial) if self.config.network.output_channels > 1 else spatial

    def predict(
        self,
        image: str | Path | np.ndarray | xr.DataArray,
        axes: str | None = None,
        *,
        uncertainty: bool = False,
        region: Mapping[str, slice] | str | None = None,
        attention: Attention = "image",
        strict: bool = False,
        on_fit: OnFit | None = None,
        progress: Progress | None = None,
        **options: Any,
    ) -> Any:
        """Predict an image of any size.

        Parameters
        ----------
        image : ndarray, DataArray, str or path
            In memory, or a file (`gvtzoo.predict` chooses among channels and series of one, and
            writes files). Axes t, p (and z, for a 2D network) are looped over.
        axes : str, optional
            Names of an array's axes, such as ``"TZYX"``; without it, an array that has as many
            axes as the network's input is taken to have the same.
        uncertainty : bool
            Whether σ is wanted too.
        region : mapping of str to slice, or str, optional
            Predict a part only: slices along z, y and x, or ``"z0:z1,y0:y1,x0:x1"``, in voxels.
        attention : {"image", "region"}
            Where a region's attention and normalization come from: the image, of which the result
            is then a part as any other; or the region with a margin, which is quicker and only
            about the same (`gvtzoo.prediction.region`).
        strict : bool
            Refuse an image that is unlike the training images, as `fit` tells.
        on_fit : callable, optional
            ``on_fit(fit)``, called before the prediction where the fit is known; by default there
            is a warning where the image is unlike.
        progress : callable, optional
            ``progress(done, all)``, called while the network is at work.
        **options
            Fields of `Settings`: device, dtype, engine, tiling, memory, block, overlap,
            pixel_size, resample.

        Returns
        -------
        DataArray, or a pair of them with σ
            float32, the image's axes (without z for a projection), in the image's units where the
            model undoes its normalization. ``attrs["fit"]`` says whether the image fits the
            training images, where that can be told.

        Raises
        ------
        GvtzooError
            When the image does not suit the model.
        """
        settings = Settings(**options)
        if uncertainty and not self.config.uncertainty:
            raise GvtzooError(f"{self.name} has no uncertainty head: predict without uncertainty")
        described = as_data_array(image, axes, self.axes)
        calibrated = with_pixel_size(LazyImage.of(described), settings)
        placed = self.place(self.suit(calibrated), region, attention)
        array = placed.image
        fit = judge(self, array, settings, strict, on_fit)
        resampling = choose_resampling(self.config, array, settings)
        tell(self.config, array, settings, resampling)
        engine = self.engine(settings)
        frames = self.frames(array.array, array.dims)
        names, whole_shape = self.output(array.dims, array.array.shape)
        shape, wanted = placed.shape(names, whole_shape), placed.box(self.axes)
        outputs = [np.empty(shape, np.float32) for _ in range(2 if uncertainty else 1)]
        targets = [self.targets(output, names) for output in outputs]
        blank = []
        with within_memory(settings, self.config.exact):
            for number, frame in enumerate(frames):
                report = within(progress, number, len(frames))
                places = [output[number] for output in targets]
                try:
                    self.predict_frame(
                        engine,
                        frame,
                        places,
                        settings,
                        report,
                        resampling=resampling,
                        wanted=wanted,
                    )
                except BlankImageError as error:
                    if len(frames) == 1:
                        raise
                    self.leave_blank(places, error.value)
                    blank.append(number)
        self.tell_blank(blank, array.dims, array.array.shape)
        attributes = dict(described.attrs)
        if fit:
            attributes["fit"] = fit
        if placed.origin:
            attributes["origin"] = {key: at for key, at in placed.origin.items() if key in names}
        if settings.pixel_size is not None:
            attributes |= {"pixel_size": calibrated.pixel_size, "unit": calibrated.unit}
        if "pixel_size" in attributes:
            sizes = attributes["pixel_size"]
            attributes["pixel_size"] = {key: sizes[key] for key in sizes if key in names}
        results = tuple(labelled(output, names, attributes) for output in outputs)
        return results if uncertainty else results[0]

    def fit(
        self, image: np.ndarray | xr.DataArray | LazyImage, axes: str | None = None, **options: Any
    ) -> Fit | None:
        """Whether an image is like the training images; a few crops of it are read.

        Parameters
        ----------
        image : ndarray, DataArray or LazyImage
        axes, **options
            As of `predict`.

        Returns
        -------
        Fit or None
            None where the package does not say what the training images were like, or there is
            too little to see.

        Raises
        ------
        GvtzooError
            When the image does not suit the model.
        """
        settings = Settings(**options)
        if not isinstance(image, LazyImage):
            image = LazyImage.of(as_data_array(image, axes, self.axes))
        return check_fit(self, self.suit(with_pixel_size(image, settings)), settings)

    def fix_attention(
        self,
        images: np.ndarray | xr.DataArray | Sequence[np.ndarray | xr.DataArray],
        axes: str | None = None,
        **options: Any,
    ) -> Model:
        """The model with the attention and normalization of given images, for other programs.

        Its network looks at a neighbourhood only, so that tiles with a halo give the same as a
        whole image.

        Parameters
        ----------
        images : array, or sequence of them
            The means over several are taken.
        axes : str, optional
            As in `predict`.
        **options
            memory, progress: as in `gvtzoo.prediction.fix_attention.constants_of`.

        Returns
        -------
        Model

        Raises
        ------
        GvtzooError
            When the network cannot be fixed (attention with softmax), or an image does not suit it.
        """
        from gvtzoo.prediction.fix_attention import fix_attention

        several = [images] if isinstance(images, (np.ndarray, xr.DataArray)) else images
        described = [LazyImage.of(as_data_array(image, axes, self.axes)) for image in several]
        return fix_attention(self, described, **options)

    def place(
        self, image: LazyImage, region: Mapping[str, slice] | str | None, attention: Attention
    ) -> RegionOfImage:
        """What has to be read of an image, as from `suit`, and predicted, for a region or all.

        Parameters
        ----------
        image : LazyImage
        region : mapping of str to slice, str or None
            In voxels of the image, by axis or as ``z0:z1,y0:y1,x0:x1``; None for all.
        attention : {"region", "image"}
            What the network attends to.

        Raises
        ------
        GvtzooError
            When the image does not suit the model, or the region does not lie in it.
        """
        if region is None:
            return RegionOfImage.all_of(image)
        self._check_axes(image.dims, dict(zip(image.dims, image.array.shape, strict=True)))
        return place_region(image, region, attention, self.axes, self.output_axes)

    def suit(self, image: LazyImage) -> LazyImage:
        """The image with the axes that the network sees.

        Without a single channel, with z even if it is one slice, or with its planes as channels.
        """
        if "c" not in self.axes and image.sizes.get("c") == 1:
            image = image.take("c", 0)
        channels = self.config.network.input_channels
        if "c" in self.axes and image.sizes.get("z") == channels:
            # A stack whose planes are the network's channels.
            if image.sizes.get("c") == 1:
                image = image.take("c", 0)
            if "c" not in image.dims:
                image = image.rename("z", "c")
        if "z" in self.axes and "z" not in image.dims:
            image = image.add_axis("z", len(image.dims) - 2)  # one slice is a stack of one
        return image

    def _check_axes(self, dims: Sequence[Hashable], sizes: Mapping[Hashable, int]) -> None:
        have = "".join(map(str, dims)).upper()
        allowed = {*self.axes, *self._looped(dims)}
        self._check_planes(dims, sizes)
        if not set(self.axes) <= set(dims) or not set(dims) <= allowed:
            raise GvtzooError(
                f"the image has axes {have}, {self.name} takes {''.join(self.axes).upper()} "
                f"(and T, P){self._advice(dims)}"
            )
        channels = self.config.network.input_channels
        if channels > 1 and sizes["c"] != channels:
            planes = sizes.get("z") == channels
            hint = f": choose one of them, such as --channel 0, for its {channels} planes"
            raise GvtzooError(
                f"the image has {sizes['c']} channels, {self.name} takes {channels}"
                f"{hint if planes else ''}"
            )

    def _advice(self, dims: Sequence[Hashable]) -> str:
        """What to do with an image of other axes; nothing where it has too few."""
        if "c" in dims and "c" not in self.axes:
            return ": choose a channel, such as --channel 0"
        if len(dims) < len(self.axes):
            return ""
        return f": name the axes, such as --axes {''.join(self.axes).upper()}"

    def _check_planes(self, dims: Sequence[Hashable], sizes: Mapping[Hashable, int]) -> None:
        """Refuse images that have not as many planes as a network takes as channels."""
        channels = self.config.network.input_channels
        if channels == 1 or "z" in self.axes or sizes.get("c") == channels:
            return
        takes = f"{self.name} takes {channels} planes as its channels"
        if sizes.get("z") == channels:
            raise GvtzooError(
                f"{takes}, and the image has {sizes['c']} channels of these: choose one with "
                "--channel 0, …"
            )
        if "z" in dims:
            raise GvtzooError(f"{takes}, the image has {sizes['z']} planes (z): cut it to these")
        if "c" not in dims:
            shape = "×".join(str(sizes[axis]) for axis in dims)
            advice = ": if one of them is z, name the axes, such as --axes ZYX"
            raise GvtzooError(
                f"{takes}, the image has axes {''.join(map(str, dims)).upper()} ({shape})"
                f"{advice if len(dims) > 2 else ''}"
            )

    def leave_blank(self, targets: Sequence[Any], value: float) -> None:
        """Give a frame in which there is nothing to see its own value, and σ 0."""
        values = (value if self.config.normalization.undo else 0.0, 0.0)
        for target, fill in zip(targets, values, strict=False):
            target[whole(target.shape)] = np.full(target.shape, fill, np.float32)

    def tell_blank(self, blank: Sequence[int], dims: Sequence[str], shape: Sequence[int]) -> None:
        """Name the frames in which there is nothing to see.

        Parameters
        ----------
        blank : sequence of int
            Numbers of the blank frames, in the order of `frames`.
        dims : sequence of str
        shape : sequence of int
            Of the image.

        Raises
        ------
        GvtzooError
            When there are no others.
        """
        if not blank:
            return
        looped = self._looped(dims)
        sizes = [shape[list(dims).index(axis)] for axis in looped]
        if len(blank) == math.prod(sizes):
            raise GvtzooError("the image is constant: there is nothing to see in it")
        indices = [np.unravel_index(number, sizes) for number in blank[:MOST_NAMED]]
        named = [
            " ".join(f"{axis}={n}" for axis, n in zip(looped, index, strict=True))
            for index in indices
        ]
        more = f" and {len(blank) - MOST_NAMED} more" if len(blank) > MOST_NAMED else ""
        log.warning(
            "%d of %d frames are blank, and left blank: %s%s",
            len(blank),
            math.prod(sizes),
            ", ".join(named),
            more,
        )

    def _looped(self, dims: Sequence[Hashable]) -> tuple[str, ...]:
        """Axes of an image that the network does not see."""
        extra = ("t", "p") if "z" in self.axes else ("t", "p", "z")
        return tuple(str(axis) for axis in dims if axis in extra)

    def frames(self, array: Any, dims: Sequence[str]) -> list[View]:
        """What the network sees at once, (channel, (z,) y, x), for each time and position.

        Raises
        ------
        GvtzooError
            When the axes do not suit the network.
        """
        self._check_axes(dims, dict(zip(dims, array.shape, strict=True)))
        return frames_of(array, dims, self.axes, self._looped(dims))

    def output(
        self, dims: Sequence[str], shape: Sequence[int]
    ) -> tuple[tuple[str, ...], tuple[int, ...]]:
        """Axes and shape of the prediction of an image, in the order of its axes."""
        produced = (*self._looped(dims), *self.output_axes)
        kept = [axis for axis in dims if axis in produced]
        names = (*(axis for axis in produced if axis not in kept), *kept)
        sizes = dict(zip(dims, shape, strict=True))
        sizes["c"] = self.config.network.output_channels
        return names, tuple(sizes[axis] for axis in names)

    def targets(self, array: Any, dims: Sequence[str]) -> list[Target]:
        """Where the results of `frames` go in an output."""
        return targets_of(array, dims, self.output_axes, self._looped(dims))

    def predict_frame(
        self,
        engine: Engine,
        frame: View,
        targets: Sequence[Any],
        settings: Settings,
        progress: Progress | None = None,
        *,
        resampling: Resampling | None = None,
        wanted: Box | None = None,
    ) -> None:
        """Predict one of `frames` into its `targets`: the prediction, and σ if there are two.

        With `wanted`, (z,) y, x, only that part of the frame, of which targets have the size.

        Parameters
        ----------
        engine : Engine
        frame : View
            (channel, (z,) y, x), in the image's units.
        targets : sequence of Target
            One for the prediction, another one where σ is wanted.
        settings : Settings
        progress : callable, optional
            ``progress(done, all)``.
        resampling : Resampling, optional
            To the network's pixel size and back.
        wanted : tuple of slice, optional
            (z,) y, x; by default all.
        """
        if resampling is not None and wanted is not None:
            targets, wanted = [Clipped.of(target, wanted, frame) for target in targets], None
        with in_network_pixels(frame, targets, resampling) as (seen, places):
            prepared = self.prepare_frame(frame, seen, wanted)
            self._predict_seen(engine, prepared, places, settings, progress)

    def _predict_seen(
        self,
        engine: Engine,
        prepared: NormalizedInput,
        targets: Sequence[Any],
        settings: Settings,
        progress: Progress | None,
    ) -> None:
        """Predict a frame at the network's pixel size."""
        finished = self.finish_frame(prepared, targets)
        budget = budget_of(engine.device, settings)
        tiling = choose_tiling(self.config, prepared.shape[1:], settings, budget)
        if tiling == "exact":
            from gvtzoo.prediction.exact.algorithm import predict_exact
            from gvtzoo.prediction.exact.execution import Runner

            predict_exact(
                engine.network,
                prepared,
                memory=budget,
                sigma=len(targets) > 1,
                out=finished,
                runner=Runner(progress=progress, compiled=engine.compiled),
            )
            return
        if settings.tiling == "auto" and tiling == "blocks":
            log.warning(
                "the image does not fit the memory, and only GVTNets are predicted exactly: "
                "predicting with %s in overlapping blocks",
                self.name,
            )
        settings = replace(settings, tiling=tiling)
        image = prepared[whole(prepared.shape)]
        results = predict_at_once(engine, image, self.config, settings, len(targets) > 1, progress)
        for place, result in zip(finished, results, strict=True):
            place[whole(result.shape)] = result

    def prepare_frame(
        self, frame: View, seen: View | None = None, wanted: Box | None = None
    ) -> NormalizedInput:
        """A frame as the network sees it.

        Parameters
        ----------
        frame : View
            (channel, (z,) y, x).
        seen : View, optional
            The same, resampled to the network's pixel size.
        wanted : tuple of slice, optional
            What of it, (z,) y, x, is predicted.

        Raises
        ------
        GvtzooError
            When there is nothing to see in it, or values that are none.
        """
        values = frame.load() if frame.in_memory else frame
        seen = frame if seen is None else seen
        # Splines would spread a hole over its plane.
        check_image(values, holes=seen is frame)
        normalization = self.config.normalization
        if seen is not frame and not normalization.before_resampling:
            values = seen
        fitted = normalization.source.fit(values)
        if fitted.masked and not self._told_mask:
            self._told_mask = True
            log.warning(
                "%.0f %% of the image are a mask around it (0 or NaN): left out of its statistics",
                100 * fitted.masked,
            )
        return NormalizedInput(seen, fitted, tuple(self.config.network.multiple), wanted)

    def finish_frame(
        self, prepared: NormalizedInput, targets: Sequence[Any]
    ) -> list[DenormalizedWriter]:
        """Where the network's outputs for a frame are put."""
        normalization = self.config.normalization
        undone = normalization.of_prediction(prepared.normalization) if normalization.undo else None
        dimensions = self.config.network.output_dimensions
        shape = (self.config.network.output_channels, *prepared.shape[-dimensions:])
        region = prepared.crop[-dimensions:]
        same_place = dimensions == self.config.network.dimensions
        may_have_holes = prepared.frame.dtype.kind == "f" and same_place
        holes = prepared.frame if may_have_holes else None
        writers = [DenormalizedWriter(targets[0], region, shape, undone, holes=holes)]
        if len(targets) > 1:
            factor = self._sigma_factor(prepared)
            writers.append(
                DenormalizedWriter(targets[1], region, shape, undone, "widths", factor, holes)
            )
        return writers

    def _sigma_factor(self, prepared: NormalizedInput) -> float:
        """What the network's σ is multiplied with in an image of this noise."""
        calibration, factor = self.config.calibration, self.config.sigma_factor
        if calibration is None:
            return factor
        if len(calibration.factors) == 1:
            return factor * calibration.factors[0]
        return factor * calibration.factor(noise_level(prepared))

    def interval(self, level: float) -> float:
        """How many σ around a prediction hold a share of the truth's voxels.

        Parameters
        ----------
        level : float
            The share, above 0 and below 1.
        """
        calibration = self.config.calibration
        return laplace_multiple(level) if calibration is None else calibration.multiple(level)


def budget_of(device: str, settings: Settings) -> int:
    """Bytes that a prediction may take on a device."""
    if settings.memory is not None:
        return settings.memory
    return available_memory(device)


def choose_tiling(
    config: PackageConfig, size: Sequence[int], settings: Settings, budget: int
) -> Literal["whole", "exact", "blocks"]:
    """What "auto" comes to, for a padded image of a size ((z,) y, x).

    Parameters
    ----------
    config : PackageConfig
    size : sequence of int
        (z,) y, x.
    settings : Settings
    budget : int
        Bytes that the prediction may take.
    """
    if settings.tiling != "auto":
        return settings.tiling
    needed = whole_image_memory(config.network, size, settings.dtype)
    if needed <= budget:
        return "whole"
    return "exact" if config.exact else "blocks"


def predict_at_once(
    engine: Engine,
    image: np.ndarray,
    config: PackageConfig,
    settings: Settings,
    uncertainty: bool,
    progress: Progress | None,
) -> Results:
    """Predict a normalized, padded image (channel, …) whole or in blocks; σ too where wanted.

    Parameters
    ----------
    engine : Engine
    image : ndarray
        (channel, (z,) y, x), float32.
    config : PackageConfig
    settings : Settings
    uncertainty : bool
    progress : callable, optional
        ``progress(done, all)``, in blocks.

    Returns
    -------
    tuple of ndarray
        The prediction, and σ, each (channel, (z,) y, x) in normalized units.
    """
    if settings.tiling != "blocks":
        results = engine.run(image, uncertainty)
        if progress is not None:
            progress(1, 1)
        return results
    multiple = config.network.multiple
    block = check_block(settings.block or default_block(config, image.shape[1:]), multiple)
    return predict_blocks(
        lambda part: engine.run(part, uncertainty),
        image,
        block=block,
        overlap=settings.overlap or DEFAULT_OVERLAP[config.network.dimensions],
        progress=progress,
    )


def default_block(config: PackageConfig, size: Sequence[int]) -> tuple[int, ...]:
    """Blocks that a network can halve, with all planes of the surface that it may look for."""
    network = config.network
    block = DEFAULT_BLOCK[network.dimensions]
    if network.output_dimensions < network.dimensions:
        block = (size[0], *block[1:])
    return tuple(-(-b // m) * m for b, m in zip(block, network.multiple, strict=True))


def check_block(block: Sequence[int], multiple: Sequence[int]) -> tuple[int, ...]:
    """Refuse blocks that the network cannot halve.

    Raises
    ------
    GvtzooError
    """
    if len(block) != len(multiple) or any(
        b < 1 or b % m for b, m in zip(block, multiple, strict=True)
    ):
        raise GvtzooError(
            f"blocks of {tuple(block)} do not suit this network: "
            f"{len(multiple)} multiples of {tuple(multiple)} are needed"
        )
    return tuple(block)
