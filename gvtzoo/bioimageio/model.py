"""Prediction with BioImage.IO packages that others made, by bioimageio.core.

bioimageio.core runs the network and what stands before and after it. It pads nothing to the
network's grid and guesses the axes of bare arrays, so cutting, padding and naming are done here:
processing sees the image without its padding, the network sees blocks with the stated halo.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from gvtzoo.bioimageio.axes import (
    Cut,
    Extent,
    channels_of,
    extents_of,
    joint_cuts,
    names_of,
    order_of,
)
from gvtzoo.bioimageio.package import ForeignPackage, described, quiet, reason
from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.progress import Progress, within
from gvtzoo.images.checks import BlankImageError, check_image
from gvtzoo.images.lazy import LazyImage
from gvtzoo.prediction.frames import frames_of
from gvtzoo.prediction.memory import within_memory

if TYPE_CHECKING:
    from bioimageio.spec.model.v0_5 import ModelDescr

    from gvtzoo.prediction.settings import Settings

log = logging.getLogger(__name__)

Arrays = Mapping[str, np.ndarray]

MOST_NAMED = 6  # blank frames
DEFAULT_BLOCK = {"x": 512, "y": 512, "z": 32, "t": 32}
DEFAULT_BLOCK_3D = {"x": 128, "y": 128, "z": 32, "t": 32}
DEFAULT_MARGIN = {"x": 32, "y": 32, "z": 4, "t": 4}  # of blocks for which no halo is stated


@dataclass(frozen=True)
class _Output:
    """An output of a network: its description, its axes by our names, and what becomes of sizes."""

    described: Any
    names: dict[str, str]
    extents: dict[str, Extent]

    @property
    def name(self) -> str:
        return str(self.described.id)


class BioimageioModel:
    """A model of which only the BioImage.IO description is known.

    Parameters
    ----------
    package : ForeignPackage
    trust : bool
        Whether code of the package may run.

    Raises
    ------
    GvtzooError
        When code would have to run without trust, or the model takes or makes what an image is
        not.
    """

    def __init__(self, package: ForeignPackage, *, trust: bool = False) -> None:
        self.package = package
        self.name = package.name
        self.weights: Any = package.choose_weights(trust)
        inputs = [t for t in package.description.inputs if not t.optional]
        if len(inputs) != 1 or package.description.inputs[0] is not inputs[0]:
            raise GvtzooError(f"{self.name} takes {len(inputs)} images at once: one can be given")
        self._trust = trust
        self._input = inputs[0]
        self._names = names_of(self._input)
        self._outputs = self._usable_outputs()
        self._adapters: dict[str, Any] = {}

    def __repr__(self) -> str:
        axes, output_axes = ("".join(axes).upper() for axes in (self.axes, self.output_axes))
        return (
            f"<{type(self).__name__} {self.name}: made by another program, {axes} → {output_axes}, "
            f"its own normalization, {self.weights} weights>"
        )

    def _usable_outputs(self) -> list[_Output]:
        """The outputs that are images; what is left out is said."""
        found, problems = [], []
        for tensor in self.package.description.outputs:
            try:
                extents = extents_of(self._input, tensor)
                found.append(_Output(tensor, names_of(tensor), extents))
            except GvtzooError as error:
                problems.append(error)
                log.warning("%s: output %s is left out: %s", self.name, tensor.id, error)
        if not found:
            raise problems[0]
        return found

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the model's outputs, as its description has them."""
        return tuple(output.name for output in self._outputs)

    @property
    def input_channels(self) -> int:
        """Channels that the network takes."""
        return channels_of(self._input)

    @property
    def axes(self) -> tuple[str, ...]:
        """Axes of the network's input, without batch; without a single channel."""
        hidden = "b" if self.input_channels > 1 else "bc"
        return tuple(n for n in "ctzyx" if n in self._names.values() and n not in hidden)

    @property
    def output_axes(self) -> tuple[str, ...]:
        """Axes of the network's first output, without batch; without a single channel."""
        output = self._outputs[0]
        hidden = "b" if channels_of(output.described) > 1 else "bc"
        return tuple(n for n in "ctzyx" if n in output.names.values() and n not in hidden)

    def predict(
        self,
        image: str | Path | np.ndarray | xr.DataArray,
        axes: str | None = None,
        *,
        uncertainty: bool = False,
        progress: Progress | None = None,
        **options: Any,
    ) -> xr.DataArray | dict[str, xr.DataArray]:
        """Predict an image of any size.

        Parameters
        ----------
        image : ndarray, DataArray, str or path
            In memory, or a file. Axes t, p and z that the network does not have are looped over.
        axes : str, optional
            Names of an array's axes, such as ``"TZYX"``; without it, an array that has as many
            axes as the network's input is taken to have the same.
        uncertainty : bool
            Refused: descriptions do not tell of it.
        progress : callable, optional
            ``progress(done, all)``, called while the network is at work.
        **options
            Fields of `gvtzoo.prediction.settings.Settings`: device, tiling ("auto": in blocks
            where the package states a halo and the image is larger than a block, else whole;
            "whole"; "blocks"), block, overlap.

        Returns
        -------
        DataArray, or a dict of them where the model has several outputs
            By the outputs' names, in their order. In the units and the type of the description,
            with the axes and pixel size that are left of the image's.

        Raises
        ------
        GvtzooError
            When the image does not suit the model, a setting is not for such models, or the
            model fails.
        """
        from gvtzoo.prediction.settings import Settings, as_data_array

        settings = Settings(**options)
        self.check_settings(settings, uncertainty)
        given = as_data_array(image, axes, self.axes)
        fitted = self._suit(LazyImage.of(given))
        looped = self._looped(fitted.dims)
        frames = frames_of(fitted.array, fitted.dims, self.axes, looped)
        network = self._network(settings.device)
        results: list[Any] = []
        for number, frame in enumerate(frames):
            report = within(progress, number, len(frames))
            try:
                results.append(self._predict_frame(frame.load(), network, settings, report))
            except BlankImageError:
                results.append(None)
        results = self._with_blanks(results)
        collected = {
            output.name: self._collect(output, list(arrays), given, fitted.dims, looped)
            for output, arrays in zip(self._outputs, zip(*results, strict=True), strict=True)
        }
        return collected if len(collected) > 1 else collected[self._outputs[0].name]

    def _with_blanks(self, results: Sequence[list[np.ndarray] | None]) -> list[list[np.ndarray]]:
        """Zeros for the frames in which there was nothing to see, and their numbers told."""
        seen = [result for result in results if result is not None]
        if not seen:
            raise GvtzooError("the image is constant: there is nothing to see in it")
        if len(seen) < len(results):
            blank = [str(n) for n, result in enumerate(results) if result is None]
            log.warning(
                "%d of %d frames are blank, and left at zero: %s",
                len(blank),
                len(results),
                ", ".join(blank[:MOST_NAMED]),
            )
        blanks = [np.zeros_like(array) for array in seen[0]]
        return [blanks if result is None else result for result in results]

    def check_settings(self, settings: Settings, uncertainty: bool = False) -> None:
        """Refuse what only gvtzoo's own networks do.

        Raises
        ------
        GvtzooError
        """
        refused = {
            "an uncertainty": uncertainty,
            "exact tiling": settings.tiling == "exact",
            "a memory limit": settings.memory is not None,
            "a pixel size": settings.pixel_size is not None,
            f"{settings.dtype} arithmetic": settings.dtype != "float32",
        }
        wanted = next((name for name, is_wanted in refused.items() if is_wanted), None)
        if wanted is not None:
            raise GvtzooError(
                f"{self.name} was not made by gvtzoo, and {wanted} is for gvtzoo's own networks "
                "only: leave it out"
            )

    def _suit(self, image: LazyImage) -> LazyImage:
        """The image with the axes that the network sees."""
        if "c" not in self.axes and image.sizes.get("c") == 1:
            image = image.take("c", 0)
        stack_of_channels = "c" in self.axes and "z" not in self.axes and "c" not in image.dims
        if stack_of_channels and image.sizes.get("z") == self.input_channels:
            image = image.rename("z", "c")
        if "z" in self.axes and "z" not in image.dims:
            image = image.add_axis("z", max(0, len(image.dims) - 2))
        have, sizes = image.dims, image.sizes
        if not set(self.axes) <= set(have) or not set(have) <= {*self.axes, *"tpz"}:
            raise GvtzooError(
                f"the image has axes {''.join(have).upper()}, {self.name} takes "
                f"{''.join(self.axes).upper()} (and T, P): choose a channel, or name the axes"
            )
        if "c" in self.axes and sizes["c"] != self.input_channels:
            raise GvtzooError(
                f"the image has {sizes['c']} channels, {self.name} takes {self.input_channels}"
            )
        return image

    def _looped(self, dims: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(axis for axis in dims if axis not in self.axes)

    @cached_property
    def _described(self) -> ModelDescr:
        """The description with the files behind it."""
        return described(self.package, self.weights, self._trust)

    def _network(self, name: str) -> Any:
        """bioimageio.core's adapter of the weights, on a device."""
        from gvtzoo.prediction.settings import choose_device

        device = choose_device(name)
        if device in self._adapters:
            return self._adapters[device]
        from bioimageio.core.backends import create_model_adapter

        cuda = self.weights == "onnx" and device.startswith("cuda")
        providers = ["CUDAExecutionProvider"] * cuda + ["CPUExecutionProvider"]
        try:
            with quiet():
                adapter = create_model_adapter(
                    self._described,
                    devices=providers if self.weights == "onnx" else [device],
                    weight_format_priority_order=[self.weights],
                )
        except GvtzooError:
            raise
        except Exception as error:  # whatever the weights, or code that is trusted, lead to
            raise GvtzooError(
                f"{self.name}: its {self.weights} weights cannot be loaded: {reason(error)}"
            ) from error
        self._adapters[device] = adapter
        return adapter

    def _predict_frame(
        self, values: np.ndarray, network: Any, settings: Settings, progress: Progress | None
    ) -> list[np.ndarray]:
        """The outputs, in their descriptions' axes, for a frame (channel, (t,) (z,) y, x)."""
        check_image(values)
        named = xr.DataArray(values, dims=("c", *(a for a in self.axes if a != "c")))
        cuts = self._cuts({str(axis): size for axis, size in named.sizes.items()}, settings)
        try:
            with quiet(), within_memory(settings, exact=False):
                return self._process(named, lambda array: self._run(array, network, cuts, progress))
        except GvtzooError:
            raise
        except Exception as error:  # whatever the network or its processing leads to
            raise GvtzooError(f"{self.name} fails on this image: {reason(error)}") from error

    def _process(
        self, image: xr.DataArray, run: Callable[[np.ndarray], list[np.ndarray]]
    ) -> list[np.ndarray]:
        """The described steps before and after the network, which `run` stands for."""
        from bioimageio.core import Sample, Tensor
        from bioimageio.core.proc_setup import get_pre_and_postprocessing

        # Made anew for each frame: statistics of one do not go on to the next.
        steps = get_pre_and_postprocessing(self._described, dataset_for_initial_statistics=())
        source = self._input
        array = self._described_order(image)
        sample = Sample(
            members={source.id: Tensor(array, dims=self._ids(self._names))}, stat={}, id=self.name
        )
        steps.pre(sample)
        prepared = sample.members[source.id].transpose(self._ids(self._names)).to_numpy()
        results = {
            output.described.id: Tensor(array, dims=self._ids(output.names))
            for output, array in zip(self._outputs, run(prepared), strict=True)
        }
        sample.members = {**sample.members, **results}
        steps.post(sample)
        return [
            sample.members[output.described.id].transpose(self._ids(output.names)).to_numpy()
            for output in self._outputs
        ]

    @staticmethod
    def _ids(names: Mapping[str, str]) -> Any:
        """Axes as the description calls them."""
        return tuple(names)

    def _described_order(self, image: xr.DataArray) -> np.ndarray:
        order = [name for name in self._names.values() if name != "b"]
        if "c" not in order:
            image = image.isel(c=0)
        array = image.transpose(*order).to_numpy()
        if "b" in self._names.values():
            array = np.expand_dims(array, list(self._names.values()).index("b"))
        return np.ascontiguousarray(array)

    def _cuts(self, sizes: Mapping[str, int], settings: Settings) -> list[dict[str, Cut]]:
        """For each output."""
        outputs = [output.extents for output in self._outputs]
        extents, spatial = outputs[0], [axis for axis in "zyx" if axis in outputs[0]]
        margins = dict(zip(spatial, settings.overlap or (), strict=False))
        margins = {axis: -(-overlap // 2) for axis, overlap in margins.items()}
        for given in (settings.block, settings.overlap):
            if given is not None and len(given) != len(spatial):
                raise GvtzooError(
                    f"{given} has {len(given)} sizes, {self.name} has the axes "
                    f"{''.join(spatial).upper()}"
                )
        states_halo = any(extent.halo for each in outputs for extent in each.values())
        if settings.tiling == "whole" or (settings.tiling == "auto" and not states_halo):
            return joint_cuts(sizes, outputs, None, margins)
        if not states_halo and settings.overlap is None:
            margins = {axis: DEFAULT_MARGIN[axis] for axis in extents}
        default = DEFAULT_BLOCK_3D if "z" in extents else DEFAULT_BLOCK
        blocks = {
            axis: default[axis]
            + 2 * max(margins.get(axis, 0), *(each[axis].margin for each in outputs))
            for axis in extents
        }
        given_blocks = dict(zip(spatial, settings.block or (), strict=False))
        return joint_cuts(sizes, outputs, blocks | given_blocks, margins)

    def _run(
        self,
        image: np.ndarray,
        network: Any,
        cuts: list[dict[str, Cut]],
        progress: Progress | None,
    ) -> list[np.ndarray]:
        """The network's outputs, put together from blocks; all in their descriptions' axes."""
        from bioimageio.core import Tensor

        source, names, shared = self._input, list(self._names.values()), cuts[0]
        image = np.pad(
            image, [shared[n].padding if n in shared else (0, 0) for n in names], mode="reflect"
        )
        boxes = list(product(*(cut.starts for cut in shared.values())))
        wholes: list[np.ndarray | None] = [None] * len(self._outputs)
        for done, corner in enumerate(boxes, start=1):
            starts = dict(zip(shared, corner, strict=True))
            box = tuple(
                slice(starts[n], starts[n] + shared[n].block) if n in shared else slice(None)
                for n in names
            )
            block = Tensor(np.ascontiguousarray(image[box]), dims=self._ids(self._names))
            tensors = network.forward({source.id: block})
            for number, output in enumerate(self._outputs):
                tensor = tensors[output.described.id].transpose(self._ids(output.names))
                wholes[number] = self._put(
                    wholes[number], tensor.to_numpy(), output, cuts[number], starts
                )
            if progress is not None:
                progress(done, len(boxes))
        return [whole for whole in wholes if whole is not None]  # an image has at least one block

    def _put(
        self,
        whole: np.ndarray | None,
        values: np.ndarray,
        output: _Output,
        cuts: Mapping[str, Cut],
        starts: Mapping[str, int],
    ) -> np.ndarray:
        """`whole`, made for the first block, with a block's result in its place."""
        names = list(output.names.values())
        parts = [cuts[n].output(starts[n]) if n in cuts else None for n in names]
        if whole is None:
            shape = [
                cuts[n].output_size if n in cuts else size
                for n, size in zip(names, values.shape, strict=True)
            ]
            whole = np.empty(shape, values.dtype)
        kept = values[tuple(slice(None) if p is None else p[1] for p in parts)]
        place = tuple(slice(None) if p is None else p[0] for p in parts)
        if kept.shape != whole[place].shape:
            raise GvtzooError(
                f"{self.name} gives {values.shape} as {output.name}, which is not the size that "
                "its description states"
            )
        whole[place] = kept
        return whole

    def _collect(
        self,
        output: _Output,
        results: list[np.ndarray],
        image: xr.DataArray,
        dims: tuple[str, ...],
        looped: tuple[str, ...],
    ) -> xr.DataArray:
        """Outputs of all frames in one array, with the image's order of axes."""
        outputs = list(output.names.values())
        sizes = dict(zip(outputs, results[0].shape, strict=True))
        hidden = [n for n in outputs if n == "b" or (n == "c" and sizes["c"] == 1)]
        kept = [n for n in outputs if n not in hidden]
        index = tuple(0 if n in hidden else slice(None) for n in outputs)
        counts = [image.sizes[axis] for axis in looped]
        stacked = np.stack([result[index] for result in results])
        stacked = stacked.reshape(*counts, *stacked.shape[1:])
        named = xr.DataArray(stacked, dims=(*looped, *kept), attrs=dict(image.attrs))
        known = image.attrs.get("pixel_size") or {}
        scales = {axis: float(extent.scale) for axis, extent in output.extents.items()}
        named.attrs["pixel_size"] = {
            axis: size / scales.get(axis, 1.0) for axis, size in known.items() if axis in named.dims
        }
        named.attrs.setdefault("unit", "")
        return named.transpose(*order_of([str(d) for d in named.dims], dims))
