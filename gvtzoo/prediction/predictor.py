"""Models that predict: `gvtzoo.load(…).predict(image)`.

image → frames (one per time and position) → normalization → padding → network
      → cropping → normalization undone → image
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
import xarray as xr

from gvtzoo.errors import GvtzooError
from gvtzoo.images.checks import check_image
from gvtzoo.images.padding import pad_to_multiple
from gvtzoo.packaging.config import PackageConfig
from gvtzoo.prediction.blocks import predict_blocks
from gvtzoo.prediction.memory import available_memory, whole_image_memory

if TYPE_CHECKING:
    from gvtzoo.networks.gvtnet import GVTNet
    from gvtzoo.networks.projection import ProjectionGVTNet

    Network = GVTNet | ProjectionGVTNet

Tiling = Literal["auto", "whole", "exact", "blocks"]
Progress = Callable[[int, int], None]
Results = tuple[np.ndarray, ...]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
DEFAULT_BLOCK = {2: (512, 512), 3: (32, 128, 128)}
DEFAULT_OVERLAP = {2: (64, 64), 3: (8, 32, 32)}


@dataclass(frozen=True)
class Settings:
    """How a prediction is computed; what is computed is the model's.

    Attributes
    ----------
    device : str
        ``"auto"`` (CUDA, else MPS, else CPU), ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
    dtype : {"float32", "bfloat16", "float16"}
        Of the network's arithmetic; sums over the whole image are float32 or wider.
    tiling : {"auto", "whole", "exact", "blocks"}
        "whole": the network sees the image at once. "exact": the same result, tile by tile.
        "blocks": overlapping blocks, averaged; another result, with seams. "auto": whole where it
        fits the memory, else exact.
    memory : int, optional
        Bytes that the prediction may take beyond the image and the result.
    block, overlap : tuple of int, optional
        Of "blocks", (z,) y, x.
    """

    device: str = "auto"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    tiling: Tiling = "auto"
    memory: int | None = None
    block: tuple[int, ...] | None = None
    overlap: tuple[int, ...] | None = None


class Model:
    """A network with everything that prediction needs.

    Parameters
    ----------
    network : GVTNet or ProjectionGVTNet
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

    def __init__(self, network: Network, config: PackageConfig, name: str = "model") -> None:
        self.network = network.eval()
        self.config = config
        self.name = name

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
        image: np.ndarray | xr.DataArray,
        axes: str | None = None,
        *,
        uncertainty: bool = False,
        progress: Progress | None = None,
        **settings: Any,
    ) -> Any:
        """Predict an image of any size.

        Parameters
        ----------
        image : ndarray or DataArray
            Axes t, p (and z, for a 2D network) are looped over.
        axes : str, optional
            Names of an array's axes, such as ``"TZYX"``; without it, an array that has as many
            axes as the network's input is taken to have the same.
        uncertainty : bool
            Whether σ is wanted too.
        progress : callable, optional
            ``progress(done, all)``, called while the network is at work.
        **settings
            Fields of `Settings`: device, dtype, tiling, memory, block, overlap.

        Returns
        -------
        DataArray, or a pair of them with σ
            float32, the image's axes (without z for a projection), in the image's units where the
            model undoes its normalization.

        Raises
        ------
        GvtzooError
            When the image does not suit the model.
        """
        how = Settings(**settings)
        if uncertainty and not self.config.uncertainty:
            raise GvtzooError(f"{self.name} has no uncertainty head: predict without uncertainty")
        array = self._with_axes(image, axes)
        network = prepare(self.network, how)
        frames = list(self._frames(array))
        results = []
        for index, frame in enumerate(frames):
            report = _within(progress, index, len(frames))
            results.append(self._predict_frame(network, frame, how, uncertainty, report))
        outputs = tuple(
            self._assemble(array, [result[n] for result in results]) for n in range(len(results[0]))
        )
        return outputs if uncertainty else outputs[0]

    def _with_axes(self, image: np.ndarray | xr.DataArray, axes: str | None) -> xr.DataArray:
        if not isinstance(image, xr.DataArray):
            image = np.asarray(image)
            names = self.axes if axes is None else tuple(axes.lower())
            if len(names) != image.ndim:
                raise GvtzooError(
                    f"the image has {image.ndim} axes of sizes {image.shape}, but the axes are "
                    f"{''.join(names).upper()}: name them all, such as axes='ZYX'"
                )
            image = xr.DataArray(image, dims=names)
        elif axes is not None:
            image = image.rename(dict(zip(image.dims, axes.lower(), strict=True)))
        if "c" in image.dims and "c" not in self.axes and image.sizes["c"] == 1:
            image = image.isel(c=0, drop=True)
        channels = self.config.network.input_channels
        if "c" in self.axes and "c" not in image.dims and image.sizes.get("z") == channels:
            image = image.rename(z="c")  # a stack whose planes are the network's channels
        if "z" in self.axes and "z" not in image.dims:
            image = image.expand_dims("z", axis=image.ndim - 2)  # one slice is a stack of one
        self._check_axes(image)
        return image

    def _check_axes(self, image: xr.DataArray) -> None:
        have = "".join(map(str, image.dims)).upper()
        allowed = {*self.axes, *self._looped(image)}
        if not set(self.axes) <= set(image.dims) or not set(image.dims) <= allowed:
            raise GvtzooError(
                f"the image has axes {have}, {self.name} takes {''.join(self.axes).upper()} "
                "(and T, P): choose a channel, or name the axes"
            )
        channels = self.config.network.input_channels
        if channels > 1 and image.sizes["c"] != channels:
            raise GvtzooError(
                f"the image has {image.sizes['c']} channels, {self.name} takes {channels}"
            )

    def _looped(self, image: xr.DataArray) -> tuple[Hashable, ...]:
        """Axes of an image that the network does not see."""
        extra = ("t", "p") if "z" in self.axes else ("t", "p", "z")
        return tuple(axis for axis in image.dims if axis in extra)

    def _frames(self, image: xr.DataArray) -> Iterator[np.ndarray]:
        """What the network sees at once, (channel, (z,) y, x)."""
        looped = self._looped(image)
        ordered = image.transpose(*looped, *self.axes)
        for index in product(*(range(image.sizes[axis]) for axis in looped)):
            frame = ordered.isel(dict(zip(looped, index, strict=True))).to_numpy()
            yield frame if "c" in self.axes else frame[np.newaxis]

    def _assemble(self, image: xr.DataArray, frames: Sequence[np.ndarray]) -> xr.DataArray:
        """Results of all frames (channel, …) as one image with the axes of the input's order."""
        looped = self._looped(image)
        first = frames[0] if "c" in self.output_axes else frames[0][0]
        stacked = frames[0] if len(frames) == 1 else np.stack(frames)
        shape = (*(image.sizes[axis] for axis in looped), *first.shape)
        result = xr.DataArray(
            stacked.reshape(shape), dims=(*looped, *self.output_axes), attrs=dict(image.attrs)
        )
        order = [axis for axis in image.dims if axis in result.dims]
        return result.transpose(*[axis for axis in result.dims if axis not in order], *order)

    def _predict_frame(
        self,
        network: Network,
        frame: np.ndarray,
        how: Settings,
        uncertainty: bool,
        progress: Progress | None,
    ) -> Results:
        check_image(frame)
        normalization = self.config.normalization
        fitted = normalization.source.fit(frame)
        padded, crop = pad_to_multiple(fitted.apply(frame), (1, *self.config.network.multiple))
        results = predict_padded(network, padded, self.config, how, uncertainty, progress)
        kept = crop[len(crop) - (results[0].ndim - 1) :]
        cropped = [result[(slice(None), *kept)] for result in results]
        if not normalization.undo:
            return tuple(cropped)
        undone = [fitted.undo(cropped[0]), *(fitted.undo_scale(sigma) for sigma in cropped[1:])]
        return tuple(result.astype(np.float32, copy=False) for result in undone)


def prepare(network: Network, how: Settings) -> Network:
    """The network on the device and in the type that the settings ask for."""
    device = choose_device(how.device)
    dtype = DTYPES[how.dtype]
    if device.type != "cpu" or dtype != torch.float32:
        network = copy.deepcopy(network).to(device=device, dtype=dtype)
    return network


def choose_device(name: str) -> torch.device:
    """A device by name; ``"auto"`` is the fastest that is there.

    Raises
    ------
    GvtzooError
        When the device is unknown or not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise GvtzooError(f"unknown device {name!r}: use auto, cpu, cuda, cuda:1, mps") from error
    count = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        raise GvtzooError(f"there is no {name} ({count} CUDA devices here): use --device auto")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise GvtzooError("there is no MPS device here: use --device auto")
    if device.type not in ("cpu", "cuda", "mps"):
        raise GvtzooError(f"unknown device {name!r}: use auto, cpu, cuda, cuda:1, mps")
    return device


def predict_padded(
    network: Network,
    image: np.ndarray,
    config: PackageConfig,
    how: Settings,
    uncertainty: bool,
    progress: Progress | None,
) -> Results:
    """Predict a normalized, padded image (channel, …); the result, and σ where wanted."""
    device = next(network.parameters()).device
    budget = available_memory(device) if how.memory is None else how.memory
    dimensions = config.network.dimensions
    tiling = how.tiling
    if tiling == "auto":
        needed = whole_image_memory(config.network, image.shape[1:], DTYPES[how.dtype])
        tiling = "whole" if needed <= budget else "exact"
    if tiling == "exact":
        from gvtzoo.prediction.exact import predict_exact

        return predict_exact(
            network,
            image,
            memory=budget,
            sigma=uncertainty,
            progress=progress,
        )
    if tiling == "whole":
        results = run_network(network, image, uncertainty)
        if progress is not None:
            progress(1, 1)
        return results
    multiple = config.network.multiple
    block = check_block(how.block or DEFAULT_BLOCK[dimensions], multiple)
    return predict_blocks(
        lambda part: run_network(network, part, uncertainty),
        image,
        block=block,
        overlap=how.overlap or DEFAULT_OVERLAP[dimensions],
        progress=progress,
    )


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


def run_network(network: Network, image: np.ndarray, uncertainty: bool) -> Results:
    """The network's output, and σ where wanted, for an image (channel, …), float32."""
    parameter = next(network.parameters())
    tensor = torch.from_numpy(np.ascontiguousarray(image))[None].to(parameter)
    with torch.inference_mode():
        outputs = network.forward_with_sigma(tensor) if uncertainty else (network(tensor),)
    return tuple(output[0].float().cpu().numpy() for output in outputs)


def _within(progress: Progress | None, index: int, count: int) -> Progress | None:
    """Progress of one of several frames, as a share of all."""
    if progress is None:
        return None
    return lambda done, total: progress(index * total + done, count * total)


def load(name: str | Path) -> Model:
    """A model by name or path.

    Parameters
    ----------
    name : str or path
        A model package (zip file, folder, or its ``rdf.yaml``), or the name of a bundled model.

    Raises
    ------
    GvtzooError
        When there is no such model, or it cannot be used.

    Examples
    --------
    >>> import gvtzoo
    >>> gvtzoo.load("gvtnet-denoising-nuclei").config.task
    'denoising'
    """
    from gvtzoo.hub.registry import find_model
    from gvtzoo.packaging.package import open_package

    package = open_package(find_model(name))
    return Model(package.build_network(), package.config, package.config.metadata.id)
