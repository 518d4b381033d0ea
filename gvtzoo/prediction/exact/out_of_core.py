"""Exact predictions from file to file, in which neither image is ever in memory.

Everything is written beside the output, into a folder of the output's name with ``.partial``: the
output itself, the feature maps that are kept, and how far the prediction is. A prediction that was
killed finds it there and goes on; a finished one renames the output and removes the rest.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from filelock import FileLock, Timeout

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.files import move_in_place, write_atomically
from gvtzoo.core.progress import Progress, within
from gvtzoo.core.version import __version__
from gvtzoo.images.checks import BlankImageError
from gvtzoo.images.files import TIFF_SUFFIXES, ZARR_SUFFIX, check_writable
from gvtzoo.images.lazy import Box, LazyImage, View
from gvtzoo.images.normalization import FittedNormalization
from gvtzoo.images.npy import open_npy
from gvtzoo.images.ome_sets import files_of
from gvtzoo.images.ome_zarr_metadata import Version
from gvtzoo.images.ome_zarr_writer import ZarrOptions
from gvtzoo.images.zarr_stores import Place, archive_of, is_url
from gvtzoo.prediction.engines import Engine, make_engine
from gvtzoo.prediction.exact.algorithm import predict_exact
from gvtzoo.prediction.exact.execution import LocalExecutor, OnDisk, Runner, free_disk
from gvtzoo.prediction.exact.journal import Journal
from gvtzoo.prediction.exact.plan import Plan, as_gvtnet, make_plans
from gvtzoo.prediction.fit import OnFit, judge
from gvtzoo.prediction.frames import Clipped, NormalizedInput
from gvtzoo.prediction.large import TILED_SUFFIXES, padded, seen_shape
from gvtzoo.prediction.memory import is_out_of_memory
from gvtzoo.prediction.model import Model, budget_of
from gvtzoo.prediction.region import Attention, RegionOfImage
from gvtzoo.prediction.resampling import (
    Resampling,
    choose_resampling,
    in_network_pixels,
    tell,
    with_pixel_size,
)
from gvtzoo.prediction.settings import Settings, choose_device

if TYPE_CHECKING:
    from dask.distributed import Client

    from gvtzoo.networks import Network

log = logging.getLogger(__name__)

PARTIAL = ".partial"
BLANK = "blank"
NOTE = "prediction.txt"  # which prediction this is


@dataclass(frozen=True)
class Output:
    """What is written, and how.

    Attributes
    ----------
    path : Path
        ``.zarr``, ``.tif`` or ``.npy``.
    sigma : Path, optional
        Where σ goes, if it is wanted.
    overwrite : bool
    zarr : ZarrOptions
    """

    path: Path
    sigma: Path | None = None
    overwrite: bool = False
    zarr: ZarrOptions = field(default_factory=ZarrOptions)

    @property
    def paths(self) -> list[Path]:
        """The output's, and that of σ where it is wanted."""
        return [self.path] if self.sigma is None else [self.path, self.sigma]


def predict_large(
    model: Model,
    image: LazyImage,
    output: Output,
    settings: Settings,
    *,
    identity: str,
    client: Client | None = None,
    progress: Progress | None = None,
    region: Mapping[str, slice] | str | None = None,
    attention: Attention = "image",
    strict: bool = False,
    on_fit: OnFit | None = None,
) -> None:
    """Predict an image of any size exactly, from file to file.

    Parameters
    ----------
    model : Model
    image : LazyImage
    output : Output
    settings : Settings
        Its tiling is not asked for.
    identity : str
        What tells this image from others, so that only the same prediction is continued.
    client : dask.distributed.Client, optional
        Of a cluster that does the work; it sees the image's and the output's folders. By default
        it is done here.
    progress : callable, optional
        ``progress(done, all)``.
    region, attention, strict, on_fit
        As of `Model.predict`.

    Raises
    ------
    GvtzooError
        When the image does not suit the model, or the output cannot be written. What is done by
        then stays for the next try.
    """
    for path in output.paths:
        check_writable(path, output.overwrite)
        _check_suffix(path)
    if output.sigma is not None and not model.config.uncertainty:
        raise GvtzooError(f"{model.name} has no uncertainty head: predict without uncertainty")
    placed = model.place(model.suit(with_pixel_size(image, settings)), region, attention)
    image = placed.image
    resampling = choose_resampling(model.config, image, settings)
    tell(model.config, image, settings, resampling)
    if resampling is not None and client is not None:
        raise GvtzooError(
            f"{image.name} is resampled, which is done in one process: leave out --workers and "
            "--scheduler, or predict it as it is with --no-resample"
        )
    device = settings.device
    if client is not None:
        settings = _for_workers(client, output, settings)
    model.frames(image.array, image.dims)
    fit = judge(model, image, settings, strict, on_fit)
    described = replace(_describe(model, placed, output), fit=fit)
    partial = output.path.with_name(f".{output.path.name}{PARTIAL}")
    engine = make_engine(as_gvtnet(model.network), settings)
    who = _Who(client, device, engine)
    with _told(output.path, partial), _alone(partial):
        _take_up(partial, output.path.name, _fingerprint(model, placed, output, settings, identity))
        try:
            _predict_into(
                partial, model, placed, output, described, settings, who, progress, resampling
            )
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            log.warning("%s: out of memory, trying smaller tiles", output.path.name)
            for path in partial.iterdir():
                if path.name != NOTE:
                    _remove(path)
            settings = replace(settings, memory=budget_of(engine.device, settings) // 4)
            _predict_into(
                partial, model, placed, output, described, settings, who, progress, resampling
            )
        shutil.rmtree(partial)


@dataclass(frozen=True)
class _Who:
    """Who predicts."""

    client: Client | None
    device: str
    engine: Engine

    def runner(self, folder: Path, progress: Progress | None) -> Runner:
        """Who carries out the passes of a frame, with what is needed to continue in `folder`."""
        compiled = self.engine.compiled
        if self.client is None:
            here = LocalExecutor(tiles_at_once(self.engine.network))
            return Runner(here, OnDisk(folder), Journal(folder), progress, compiled)
        from gvtzoo.prediction.exact.dask import DaskExecutor

        dask = DaskExecutor(self.client, folder, self.device)
        return Runner(dask, OnDisk(folder), Journal(folder), progress, compiled)


def _predict_into(
    partial: Path,
    model: Model,
    placed: RegionOfImage,
    output: Output,
    described: LazyImage,
    settings: Settings,
    who: _Who,
    progress: Progress | None,
    resampling: Resampling | None,
) -> None:
    """Predict all frames, in a folder where some may be done, and give the output its name."""
    image = placed.image
    frames = model.frames(image.array, image.dims)
    plans = _planned(partial, model, who.engine, seen_shape(frames[0], resampling), settings)
    results = _results(partial, described, output, plans)
    targets = [model.targets(array, described.dims) for array in results.opened]
    for number, frame in enumerate(frames):
        folder = partial / f"frame-{number}"
        if (folder / "done").exists():
            continue
        folder.mkdir(exist_ok=True)
        places: list[Any] = [of_all[number] for of_all in targets]
        try:
            wanted = placed.box(model.axes)
            if resampling is not None and wanted is not None:
                places = [Clipped.of(place, wanted, frame) for place in places]
                wanted = None
            with in_network_pixels(frame, places, resampling, folder) as (seen, results_of_seen):
                prepared = _prepared(folder, model, frame, seen, wanted)
                predict_exact(
                    who.engine.network,
                    prepared,
                    sigma=output.sigma is not None,
                    out=model.finish_frame(prepared, results_of_seen),
                    plans=plans,
                    runner=who.runner(folder, within(progress, number, len(frames))),
                )
        except BlankImageError as error:
            if len(frames) == 1:
                shutil.rmtree(partial)
                raise
            model.leave_blank(places, error.value)
            _clear(folder, blank=True)
            continue
        _clear(folder)
    done = [(partial / f"frame-{number}" / "done").read_text() for number in range(len(frames))]
    blank = [number for number, note in enumerate(done) if note == BLANK]
    if len(blank) == len(frames):
        shutil.rmtree(partial)
    model.tell_blank(blank, image.dims, image.array.shape)
    results.finish()


def _for_workers(client: Client, output: Output, settings: Settings) -> Settings:
    """Settings of the process that hands out the tiles."""
    from gvtzoo.prediction.exact.dask import memory_of_workers

    if any(path.suffix.lower() != ZARR_SUFFIX for path in output.paths):
        raise GvtzooError(f"{output.path.name}: several workers write into .zarr only: name that")
    memory = memory_of_workers(client) if settings.memory is None else settings.memory
    on_gpus = choose_device(settings.device) != "cpu"
    engine = "torch" if on_gpus and settings.engine == "auto" else settings.engine
    return replace(settings, device="cpu", engine=engine, memory=memory)


def tiles_at_once(network: Network) -> int:
    """How many tiles are in work on the network's device."""
    return 2 if next(network.parameters()).device.type == "cuda" else 1


def identity_of(place: Place, *choices: object) -> str:
    """What tells an image from others: its files' places, sizes and times, and what is chosen.

    Of a folder, such as OME-Zarr, all files count, for a chunk that is written anew leaves the
    folder's own time as it is. Of an image on a server only its address is known.

    Parameters
    ----------
    place : path
    *choices
        Such as the channel, of an image that has several.
    """
    if is_url(place):
        return " ".join(map(str, (place, *choices)))
    path = Path(place)
    top = archive_of(path) or path
    files = sorted(top.rglob("*")) if top.is_dir() else files_of(top)
    digest = hashlib.sha256(f"{path.resolve()} {choices}".encode())
    for file in files:
        stat = file.stat()
        digest.update(f"{file.name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


@contextmanager
def _told(path: Path, partial: Path) -> Iterator[None]:
    """Say what went wrong with the disk in one line, and that nothing is lost."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise GvtzooError(
            f"{path} cannot be written: {reason}; what is done stays in {partial.name}, and the "
            "same command continues"
        ) from error


@contextmanager
def _alone(partial: Path) -> Iterator[None]:
    """Refuse two predictions into the same output at once."""
    partial.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(partial.with_suffix(".lock"), timeout=0)
    try:
        with lock:
            yield
            partial.with_suffix(".lock").unlink(missing_ok=True)
    except Timeout as error:
        raise GvtzooError("another process is predicting into this output: wait for it") from error


def _check_suffix(path: Path) -> None:
    if path.suffix.lower() not in TILED_SUFFIXES:
        raise GvtzooError(
            f"{path.name}: tiles can be written as .zarr, .tif or .npy, not as {path.suffix}"
        )


def _fingerprint(
    model: Model,
    placed: RegionOfImage,
    output: Output,
    settings: Settings,
    identity: str,
) -> str:
    """What has to be the same for a prediction to be continued."""
    image = placed.image
    digest = hashlib.sha256()
    for name, tensor in sorted(model.network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    told = {
        "gvtzoo": __version__,
        "model": model.config.model_dump(mode="json"),
        "weights": digest.hexdigest(),
        "image": [identity, image.dims, list(image.array.shape), str(image.array.dtype)],
        "region": [[axis, part.start, part.stop] for axis, part in placed.region.items()],
        "origin": placed.origin,
        "sigma": output.sigma is not None,
        "output": [output.path.suffix, output.zarr.version],
        "dtype": settings.dtype,
        "pixels": [settings.pixel_size, settings.resample],
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _take_up(partial: Path, name: str, fingerprint: str) -> None:
    """Keep what is there of the same prediction, and begin anew otherwise."""
    note = partial / NOTE
    if note.is_file() and note.read_text() == fingerprint:
        log.warning("%s: continuing what was interrupted", name)
        return
    if partial.exists():
        log.warning("%s is of another prediction: starting from the beginning", partial.name)
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    with write_atomically(note) as temporary:
        temporary.write_text(fingerprint)


def _planned(
    partial: Path,
    model: Model,
    engine: Engine,
    shape: Sequence[int],
    settings: Settings,
) -> list[Plan]:
    """How the tiles are cut: as when the prediction began."""
    note = partial / "plan.json"
    if not note.is_file():
        network = as_gvtnet(engine.network)
        device = str(next(network.parameters()).device)
        plans = make_plans(
            network,
            padded(model, shape)[1:],
            budget_of(device, settings) // tiles_at_once(network),
            disk=free_disk(partial),
            in_memory=False,
            live_maps=engine.compiled.live_maps,
        )
        with write_atomically(note) as temporary:
            temporary.write_text(json.dumps([asdict(plan) for plan in plans]))
    return [
        Plan(**{**saved, "tile": tuple(saved["tile"])}) for saved in json.loads(note.read_text())
    ]


def _prepared(
    folder: Path, model: Model, frame: View, seen: View, wanted: Box | None
) -> NormalizedInput:
    """The frame with its normalization, whose statistics are taken once."""
    note = folder / "normalization.json"
    multiple = tuple(model.config.network.multiple)
    if note.is_file():
        fitted = FittedNormalization(**json.loads(note.read_text()))
        return NormalizedInput(seen, fitted, multiple, wanted)
    prepared = model.prepare_frame(frame, seen, wanted)
    with write_atomically(note) as temporary:
        temporary.write_text(json.dumps(asdict(prepared.normalization)))
    return prepared


def _clear(folder: Path, *, blank: bool = False) -> None:
    """Leave of a finished frame only that it is, and whether there was nothing to see."""
    (folder / "done").write_text(BLANK if blank else "")
    for path in folder.iterdir():
        if path.name != "done":
            _remove(path)


@dataclass(frozen=True)
class _Results:
    """The output's files, still in the partial folder."""

    opened: list[Any]
    described: LazyImage
    partial: Path
    output: Output

    def finish(self) -> None:
        """Give them their names."""
        for path in self.output.paths:
            finished = self.partial / path.name
            if finished.suffix == ZARR_SUFFIX and self.output.zarr.pyramid:
                from gvtzoo.images.ome_zarr_writer import add_pyramid

                add_pyramid(finished, self.described)
            check_writable(path, self.output.overwrite)
            move_in_place(finished, path)


def _describe(model: Model, placed: RegionOfImage, output: Output) -> LazyImage:
    """What the output will look like."""
    image = placed.image
    names, whole_shape = model.output(image.dims, image.array.shape)
    shape = placed.shape(names, whole_shape)
    suffix = output.path.suffix.lower()
    if suffix in (ZARR_SUFFIX, *TIFF_SUFFIXES):
        order = "tczyx" if suffix == ZARR_SUFFIX else "tzcyx"
        sizes = dict(zip(names, shape, strict=True))
        unfit = [axis for axis in names if axis not in order]
        if unfit:
            raise GvtzooError(
                f"{output.path.name}: the format has no axis {', '.join(unfit).upper()}: "
                "write npy, or one file for each of its positions"
            )
        names = tuple(axis for axis in order if axis in sizes)
        shape = tuple(sizes[axis] for axis in names)
    return replace(
        image,
        array=np.broadcast_to(np.float32(0), shape),
        dims=names,
        name=output.path.stem,
        pixel_size={axis: size for axis, size in image.pixel_size.items() if axis in names},
        channels=[],
        origin={axis: at for axis, at in placed.origin.items() if axis in names},
    )


def _results(
    partial: Path, described: LazyImage, output: Output, plans: Sequence[Plan]
) -> _Results:
    """The output's files, new or as they were begun."""
    created = partial / "created"
    opened = []
    for path in output.paths:
        place = partial / path.name
        if not created.exists():
            _remove(place)
            _create(place, described, output.zarr.version, plans[-1].tile)
        opened.append(_open(place, described.array.shape))
    created.touch()
    return _Results(opened, described, partial, output)


def _create(path: Path, described: LazyImage, version: Version | None, tile: Sequence[int]) -> None:
    """A new file that has room for an output."""
    shape = described.array.shape
    if path.suffix.lower() == ZARR_SUFFIX:
        from gvtzoo.images.ome_zarr_writer import create_ome_zarr, suited_chunks

        chunks = suited_chunks(described.dims, shape, tile)
        create_ome_zarr(path, described, chunks=chunks, version=version)
    elif path.suffix.lower() in TIFF_SUFFIXES:
        from gvtzoo.images.tiff_writing import create_tiff

        create_tiff(path, described)
    else:
        np.lib.format.open_memmap(path, "w+", np.float32, shape)


def _open(path: Path, shape: Sequence[int]) -> Any:
    """What tiles are written into."""
    if path.suffix.lower() == ZARR_SUFFIX:
        import zarr

        return zarr.open_group(path, mode="r+")["0"]
    if path.suffix.lower() in TIFF_SUFFIXES:
        from gvtzoo.images.tiff_writing import open_created_tiff

        return open_created_tiff(path, shape)
    return open_npy(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
