"""What the widgets have done in a thread, and how it is stopped; no window is needed."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import xarray as xr
from torch.overrides import TorchFunctionMode

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.progress import Progress, TrainingProgress
from gvtzoo.images.lazy import LazyImage
from gvtzoo.napari.layers import is_lazy
from gvtzoo.prediction.settings import Settings

if TYPE_CHECKING:
    from gvtzoo.bioimageio.model import BioimageioModel
    from gvtzoo.prediction.model import Model
    from gvtzoo.training.finetune import FineTuning

Result = xr.DataArray | LazyImage


class StoppedError(Exception):
    """The user has pressed Cancel, or closed the window."""


class _Stopping(TorchFunctionMode):
    """Looks before every operation of the network whether it is still wanted."""

    def __init__(self, stop: threading.Event) -> None:
        super().__init__()
        self.stop = stop

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if self.stop.is_set():
            raise StoppedError
        return function(*args, **(kwargs or {}))


@contextmanager
def stoppable(stop: threading.Event, report: Progress | None = None) -> Iterator[Progress]:
    """In it, PyTorch's operations of this thread raise `StoppedError` once `stop` is set.

    Gives a progress function that does so too.
    """

    def progress(done: int, total: int) -> None:
        if stop.is_set():
            raise StoppedError
        if report is not None:
            report(done, total)

    with _Stopping(stop):
        yield progress


def predict_image(
    model: Model | BioimageioModel,
    image: LazyImage,
    settings: Settings,
    *,
    uncertainty: bool,
    stop: threading.Event,
    folder: Path,
    report: Progress | None = None,
) -> list[Result]:
    """An image's prediction, and σ where it is wanted, as that of the whole image.

    What is read in parts is predicted in parts, from store to store.

    Parameters
    ----------
    model : Model or BioimageioModel
    image : LazyImage
    settings : Settings
    uncertainty : bool
    stop : Event
        Ends it.
    folder : Path
        Where results lie that are not kept in memory.
    report : callable, optional
        ``report(done, all)``.

    Raises
    ------
    StoppedError
    GvtzooError
        When the image does not suit the model.
    """
    from gvtzoo.prediction.model import Model

    with stoppable(stop, report) as progress:
        if is_lazy(image) and isinstance(model, Model) and model.config.exact:
            return _from_store_to_store(model, image, settings, uncertainty, folder, progress)
        results: Any = model.predict(
            image.load(), uncertainty=uncertainty, progress=progress, **vars(settings)
        )
    return list(results) if uncertainty else [results]


def _from_store_to_store(
    model: Model,
    image: LazyImage,
    settings: Settings,
    uncertainty: bool,
    folder: Path,
    progress: Progress,
) -> list[Result]:
    from gvtzoo.images.files import open_image
    from gvtzoo.prediction.exact.out_of_core import Output, predict_large

    place = Path(tempfile.mkdtemp(dir=folder))
    output = Output(place / "prediction.zarr", place / "sigma.zarr" if uncertainty else None)
    try:
        predict_large(model, image, output, settings, identity=str(place), progress=progress)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    return [open_image(path, keep_channels=True) for path in output.paths]


def predict_region(
    model: Model | BioimageioModel,
    image: LazyImage,
    region: Mapping[str, slice],
    settings: Settings,
    *,
    uncertainty: bool,
    stop: threading.Event,
    report: Progress | None = None,
) -> list[Result]:
    """A part of an image as if it were an image of its own: quick, and only about the same.

    Parameters
    ----------
    model : Model or BioimageioModel
    image : LazyImage
    region : mapping of str to slice
        In voxels, by axis.
    settings : Settings
    uncertainty : bool
        Whether σ is wanted, too.
    stop : threading.Event
        Set from another thread, it ends the work.
    report : callable, optional
        ``report(done, all)``.

    Returns
    -------
    list of DataArray
        The prediction, and σ.

    Raises
    ------
    StoppedError
    GvtzooError
        When the image does not suit the model.
    """
    with stoppable(stop, report) as progress:
        results: Any = model.predict(
            image.crop(region).load(),
            uncertainty=uncertainty,
            progress=progress,
            **vars(settings),
        )
    return list(results) if uncertainty else [results]


def has_uncertainty(model: Model | BioimageioModel) -> bool:
    """Whether a model gives σ."""
    return bool(getattr(model.config, "uncertainty", False)) if hasattr(model, "config") else False


@dataclass(frozen=True)
class TunedModel:
    """A fine-tuned model as a package, and what it has gained.

    Attributes
    ----------
    result : FineTuning
    package : Path
    """

    result: FineTuning
    package: Path


def finetune_on(
    model: str | Path,
    pairs: Sequence[tuple[LazyImage, LazyImage]],
    folder: Path,
    *,
    steps: int,
    stop: threading.Event,
    report: TrainingProgress | None = None,
) -> TunedModel:
    """Fine-tune a model on pairs of layers; the run and the package lie in `folder`.

    Parameters
    ----------
    model : str or path
    pairs : sequence of (LazyImage, LazyImage)
        What the microscope gives, and what is wanted of it.
    folder : Path
        New or empty; missing ones are made.
    steps : int
        At most.
    stop : Event
    report : callable, optional
        ``report(step, steps, loss)``.

    Raises
    ------
    StoppedError
    GvtzooError
        When the pairs do not suit the model or each other.
    """
    from gvtzoo.images.files import write_image
    from gvtzoo.training.finetune import finetune
    from gvtzoo.training.run import package_run

    if not pairs:
        raise GvtzooError("there is nothing to learn from: add at least one pair of layers")
    if folder.exists() and any(folder.iterdir()):
        raise GvtzooError(f"{folder} is not empty: choose another folder")

    def progress(step: int, total: int, loss: float) -> None:
        if stop.is_set():
            raise StoppedError
        if report is not None:
            report(step, total, loss)

    with tempfile.TemporaryDirectory(prefix="gvtzoo-pairs-") as data:
        for number, pair in enumerate(pairs):
            for kind, image in zip(("source", "target"), pair, strict=True):
                write_image(Path(data) / kind / f"pair_{number:03}.tif", image.load())
        result = finetune(
            model, data, folder / "run", settings=[f"training.steps={steps}"], progress=progress
        )
    package = package_run(result.run, folder / "model.zip")
    return TunedModel(result, package)


def explain(error: BaseException) -> str:
    """What went wrong, in one line."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return "it does not fit the memory: choose the CPU, or a smaller part"
    text = " ".join(str(error).split())
    return text if isinstance(error, GvtzooError) else f"{type(error).__name__}: {text}"
