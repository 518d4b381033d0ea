"""`gvtzoo.predict`: images, in memory or in files of any size, through a model."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import xarray as xr

from gvtzoo.bioimageio.model import BioimageioModel
from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.progress import Progress
from gvtzoo.hub.load import load
from gvtzoo.images.files import check_writable, open_image, with_ending, write_image
from gvtzoo.images.ome_zarr_writer import ZarrOptions
from gvtzoo.images.zarr_stores import is_url
from gvtzoo.prediction.axes import tell_axes
from gvtzoo.prediction.fit import OnFit
from gvtzoo.prediction.large import TILED_SUFFIXES, is_large, may_take_long
from gvtzoo.prediction.memory import within_memory
from gvtzoo.prediction.model import Model
from gvtzoo.prediction.region import Attention
from gvtzoo.prediction.resampling import with_pixel_size
from gvtzoo.prediction.settings import Settings

if TYPE_CHECKING:
    from dask.distributed import Client

    from gvtzoo.images.lazy import LazyImage
    from gvtzoo.images.zarr_stores import Place
    from gvtzoo.prediction.exact.out_of_core import Output

log = logging.getLogger(__name__)


@overload
def predict(
    model: str | Path | Model | BioimageioModel,
    image: str | Path | np.ndarray | xr.DataArray,
    output: None = None,
    **options: Any,
) -> Any: ...


@overload
def predict(
    model: str | Path | Model | BioimageioModel,
    image: str | Path | np.ndarray | xr.DataArray,
    output: str | Path,
    **options: Any,
) -> list[Path]: ...


def predict(
    model: str | Path | Model | BioimageioModel,
    image: str | Path | np.ndarray | xr.DataArray,
    output: str | Path | None = None,
    *,
    axes: str | None = None,
    channel: int | str | None = None,
    series: int | str | None = None,
    level: int | None = None,
    region: Mapping[str, slice] | str | None = None,
    attention: Attention = "image",
    uncertainty: bool = False,
    zarr: ZarrOptions | None = None,
    overwrite: bool = False,
    trust: bool = False,
    strict: bool = False,
    on_fit: OnFit | None = None,
    client: Client | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Any:
    """Predict an image of any size.

    From file to file an image that does not fit the memory is predicted tile by tile, with the same
    result; when that is interrupted, the same call continues it.

    Parameters
    ----------
    model : str, path, Model or BioimageioModel
        A model, or its name or path as `gvtzoo.load` takes it.
    image : str, path, ndarray or DataArray
        A file, the address of an OME-Zarr, or an image in memory. Axes that the network does not
        have (t, p, and z of a 2D network) are looped over.
    output : str or path, optional
        A file to write (.tif, .ome.tif, .ome.zarr, .npy, .npz); σ goes into one beside it, whose
        name ends in ``_sigma``. Without it, the prediction is returned.
    axes : str, optional
        Names of the image's axes, such as ``"TZYX"``, where the file or array does not tell.
    channel : int or str, optional
        Number (from 0) or name of a file's channel to take.
    series : int or str, optional
        Number (from 0) or name of one of several images in a file.
    level : int, optional
        One of several resolutions in a file, 0 being the finest, which is taken without it.
    region : mapping of str to slice, or str, optional
        Predict a part only: slices along z, y and x, or ``"z0:z1,y0:y1,x0:x1"``, in voxels.
    attention : {"image", "region"}
        Where a region's attention and normalization come from, as of `Model.predict`.
    uncertainty : bool
        Whether σ is wanted too.
    zarr : ZarrOptions, optional
        How OME-Zarr is written.
    overwrite : bool
        Whether files that exist are replaced.
    trust : bool
        Whether code may run that a package of others brings along.
    strict : bool
        Refuse an image that is unlike the training images (`Model.fit`).
    on_fit : callable, optional
        ``on_fit(fit)``, called before the prediction where the fit is known; by default there is a
        warning where an image is unlike.
    client : dask.distributed.Client, optional
        Of a cluster that predicts.
    progress : callable, optional
        ``progress(done, all)``, called while the network is at work.
    **options
        Fields of `gvtzoo.prediction.settings.Settings`: device, dtype, engine, tiling, memory,
        block, overlap, pixel_size, resample.

    Returns
    -------
    DataArray, a pair of them with σ, or list of Path
        The prediction, with the image's axes (without z for a projection) and units; a dict of
        them by name from a package of others that has several outputs. With `output`, the files
        of the outputs; that of σ is not among them.

    Raises
    ------
    GvtzooError
        When the image does not suit the model, cannot be read, or the output cannot be written.

    Examples
    --------
    >>> import gvtzoo
    >>> import numpy as np
    >>> noisy = np.random.default_rng(0).normal(size=(8, 32, 32))
    >>> gvtzoo.predict("gvtnet-denoising-nuclei", noisy, axes="ZYX").dims
    ('z', 'y', 'x')
    >>> gvtzoo.predict("gvtnet-denoising-nuclei", "stack.tif", "clean.tif")  # doctest: +SKIP
    [PosixPath('clean.tif')]
    """
    loaded = load(model, trust=trust) if isinstance(model, (str, Path)) else model
    settings = Settings(**options)
    if strict and not isinstance(loaded, Model):
        raise GvtzooError(f"{loaded.name} was not made by gvtzoo: leave out --strict (strict=True)")
    wanted = _Wanted(uncertainty, region, attention, settings, client, progress, strict, on_fit)
    targets = [] if output is None else _targets(loaded, Path(output), uncertainty)
    for target in targets:
        if isinstance(image, (str, Path)) and not is_url(image):
            _check_apart(target, Path(image))
        check_writable(target, overwrite)
    with within_memory(settings, exact=isinstance(loaded, Model) and loaded.config.exact):
        if isinstance(image, (str, Path)):
            reading = {"axes": axes, "channel": channel, "series": series, "level": level}
            zarr = (zarr or ZarrOptions()).suited_to(image)
            written = _Written(targets, uncertainty, overwrite, zarr)
            results = _of_file(loaded, image, reading, wanted, written)
        elif (channel, series, level) == (None, None, None):
            results = wanted.of(loaded, image, axes)
        else:
            raise GvtzooError("channel, series and level are for files: take them from the array")
    if output is None:
        return results
    if results is not None:
        given = list(results.values()) if isinstance(results, dict) else results
        given = given if isinstance(given, (list, tuple)) else [given]
        for target, result in zip(targets, given, strict=True):
            write_image(target, result, overwrite=overwrite, zarr=zarr)
    return targets[:1] if uncertainty else targets


@dataclass(frozen=True)
class _Wanted:
    """What of an image is to be predicted, and how."""

    uncertainty: bool
    region: Mapping[str, slice] | str | None
    attention: Attention
    settings: Settings
    client: Client | None
    progress: Progress | None
    strict: bool
    on_fit: OnFit | None

    def of(
        self, model: Model | BioimageioModel, image: np.ndarray | xr.DataArray, axes: str | None
    ) -> Any:
        """The prediction of an image in memory."""
        cut: dict[str, Any] = {}
        if self.region is not None:
            _own(model)
            cut = {"region": self.region, "attention": self.attention}
        if isinstance(model, Model):
            cut |= {"strict": self.strict, "on_fit": self.on_fit}
        return model.predict(
            image,
            axes,
            uncertainty=self.uncertainty,
            progress=self.progress,
            **cut,
            **vars(self.settings),
        )


@dataclass(frozen=True)
class _Written:
    """The files that a prediction goes into; none where it is returned."""

    targets: Sequence[Path]
    uncertainty: bool
    overwrite: bool
    zarr: ZarrOptions

    @property
    def tiled(self) -> Output | None:
        """A file that may be written tile by tile."""
        if not self.targets or self.targets[0].suffix.lower() not in TILED_SUFFIXES:
            return None
        from gvtzoo.prediction.exact.out_of_core import Output

        sigma = self.targets[1] if self.uncertainty else None
        return Output(self.targets[0], sigma, self.overwrite, self.zarr)


def _of_file(
    model: Model | BioimageioModel,
    source: Place,
    reading: Mapping[str, Any],
    wanted: _Wanted,
    written: _Written,
) -> Any:
    """The prediction of a file; None where it was written tile by tile."""
    # A network of planes as channels takes these from one channel of the image.
    keep = "c" in model.axes and reading["channel"] is None
    image = open_image(source, keep_channels=keep, **reading)
    if wanted.region is not None:
        image, wanted = _placed(_own(model), source, image, wanted)
    # Whoever is refused need not know what would have been done.
    if not wanted.strict:
        tell_axes(model, image, model.name)
    result = _of_image(model, source, image, reading, wanted, written)
    if wanted.strict:
        tell_axes(model, image, model.name)
    return result


def _of_image(
    model: Model | BioimageioModel,
    source: Place,
    image: LazyImage,
    reading: Mapping[str, Any],
    wanted: _Wanted,
    written: _Written,
) -> Any:
    if not isinstance(model, Model):
        return wanted.of(model, image.load(), None)
    if written.targets and wanted.client is None and may_take_long(model, image):
        from gvtzoo.prediction.estimate import announcement

        if text := announcement(model, image, wanted.settings):
            log.warning("%s: %s", source, text)
    if wanted.client is None and not is_large(model, image, wanted.settings):
        return wanted.of(model, image.load(), None)
    output = written.tiled
    if output is None:
        return wanted.of(model, image.load(), None)
    from gvtzoo.prediction.exact.out_of_core import identity_of, predict_large

    predict_large(
        model,
        image,
        output,
        wanted.settings,
        identity=identity_of(source, *reading.values()),
        client=wanted.client,
        progress=wanted.progress,
        region=wanted.region,
        strict=wanted.strict,
        on_fit=wanted.on_fit,
    )
    return None


def _placed(
    model: Model, source: Place, image: LazyImage, wanted: _Wanted
) -> tuple[LazyImage, _Wanted]:
    """What has to be read for a region, and where the region is in that."""
    if is_url(source) and wanted.attention == "image":
        log.warning(
            "%s: the attention of a region is that of the whole image, all of which is fetched "
            "now; --attention region fetches the region and a margin only",
            source,
        )
    calibrated = model.suit(with_pixel_size(image, wanted.settings))
    placed = model.place(calibrated, wanted.region, wanted.attention)
    return placed.image, replace(wanted, region=placed.region, attention="image")


def _check_apart(target: Path, source: Path) -> None:
    if target.resolve() == source.resolve():
        raise GvtzooError("the output would replace the input: choose another name")


def _own(model: Model | BioimageioModel) -> Model:
    if isinstance(model, BioimageioModel):
        raise GvtzooError("a region is for gvtzoo's own models: crop the image for others")
    return model


def _targets(model: Model | BioimageioModel, target: Path, uncertainty: bool) -> list[Path]:
    """The file of the prediction, and beside it that of σ or those of further outputs."""
    if uncertainty:
        return [target, with_ending(target, "_sigma")]
    if isinstance(model, Model):
        return [target]
    names = [re.sub(r"[^\w-]", "_", name) for name in model.outputs[1:]]
    return [target, *(target.with_name(f"{target.stem}_{name}{target.suffix}") for name in names)]
