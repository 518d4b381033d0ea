"""Predictions of the images of an evaluation: given as files, or made by a model and kept.

A prediction is made once: as long as the model, the image and the settings stay what they are, the
file is taken again.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.files import sha256_of, write_atomically
from gvtzoo.core.json_files import read_json
from gvtzoo.core.progress import Progress
from gvtzoo.core.version import __version__
from gvtzoo.evaluation.pairs import SIGMA, EvaluationPair
from gvtzoo.images.files import IMAGE_SUFFIXES
from gvtzoo.packages.reader import is_package_folder
from gvtzoo.packages.run_folder import (
    RECIPE,
    WEIGHTS,
    check_run,
    is_run,
    read_run_config,
    run_recipe,
)

if TYPE_CHECKING:
    from gvtzoo.bioimageio.model import BioimageioModel
    from gvtzoo.packages.config import PackageConfig, SigmaCalibration, TrainedOn
    from gvtzoo.prediction.fit import Fit
    from gvtzoo.prediction.model import Model
    from gvtzoo.prediction.settings import Settings

log = logging.getLogger(__name__)

INPUT = "input"


@dataclass(frozen=True)
class Prediction:
    """Files of a prediction, and of its σ where there is one.

    Attributes
    ----------
    path : Path
    sigma : Path, optional
    in_truth_units : bool
        Whether the model gives predictions in the truth's units; else, they are not known.
    calibration : SigmaCalibration, optional
        How many σ hold which share of the voxels.
    """

    path: Path
    sigma: Path | None = None
    in_truth_units: bool = False
    calibration: SigmaCalibration | None = None


class Candidate(Protocol):
    """What is evaluated.

    Attributes
    ----------
    name : str
    identity : str
        Changes with everything that predictions depend on, but the image.
    trained_on : TrainedOn, optional
        What it has learned from, empty where that is not known; None of what is no model.
    weights : str, optional
        SHA-256 of a run's weights.
    """

    @property
    def name(self) -> str:
        """What tables and figures call it."""

    @property
    def identity(self) -> str:
        """A text that changes with everything that predictions depend on, but the image."""

    @property
    def trained_on(self) -> TrainedOn | None:
        """What it has learned from; None of what is no model."""

    @property
    def weights(self) -> str | None:
        """SHA-256 of a run's weights, if it is a run."""

    def predict(self, pair: EvaluationPair, progress: Progress | None = None) -> Prediction:
        """The prediction of a pair's source.

        Raises
        ------
        GvtzooError
            When there is none.
        """


@dataclass(frozen=True)
class PrecomputedPredictions:
    """Predictions that somebody made: files with the names of the sources.

    They are in a folder, or below it in one of the condition's and structure's names; σ, where
    there is any, in files that end in ``_sigma``.
    """

    name: str
    folder: Path
    trained_on: TrainedOn | None = None
    weights: str | None = None

    @property
    def identity(self) -> str:
        """The folder's whole path."""
        return str(self.folder.resolve())

    def predict(self, pair: EvaluationPair, progress: Progress | None = None) -> Prediction:
        """The file of the source's name, first in the folders of its structure and condition.

        Raises
        ------
        GvtzooError
            When there is none.
        """
        parts = [part for part in (pair.structure, pair.condition) if part]
        for place in (self.folder.joinpath(*parts), self.folder / pair.place.parent, self.folder):
            for stem in (pair.name, pair.source.stem, _without_ome(pair.source.stem)):
                found = _image(place, stem)
                if found is not None:
                    return Prediction(found, _image(place, f"{found.stem}{SIGMA}"))
        raise GvtzooError(f"{self.folder} has no prediction of {pair.source.name}: name it so")


@dataclass(frozen=True)
class IdentityBaseline:
    """The sources themselves: what one has without any model."""

    name: str = INPUT
    identity: str = INPUT
    trained_on: TrainedOn | None = None
    weights: str | None = None

    def predict(self, pair: EvaluationPair, progress: Progress | None = None) -> Prediction:
        """The source itself."""
        return Prediction(pair.source)


@dataclass(frozen=True)
class ModelPredictions:
    """Predictions that a model makes, kept in a folder.

    Attributes
    ----------
    name : str
    model : str or Path
        As `gvtzoo.load` takes it.
    folder : Path
    settings : Settings
    trust : bool
        Whether code may run that a package of others brings along.
    fits : dict of str to Fit
        How the images that were predicted now compare with the training images, by their names.
    """

    name: str
    model: str | Path
    folder: Path
    settings: Settings = field(default_factory=lambda: _default_settings())
    trust: bool = False
    fits: dict[str, Fit] = field(default_factory=dict, init=False, compare=False, repr=False)

    @cached_property
    def path(self) -> Path:
        """The model's package or run folder."""
        from gvtzoo.hub.registry import find_model

        return find_model(self.model)

    @cached_property
    def identity(self) -> str:
        """A digest of gvtzoo's version, the settings but the device, and the model's files."""
        settings = {key: value for key, value in asdict(self.settings).items() if key != "device"}
        parts = [__version__, json.dumps(settings, sort_keys=True), digest_of(self.path)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @cached_property
    def loaded(self) -> Model | BioimageioModel:
        """The model."""
        from gvtzoo.hub.load import load

        return load(self.path, trust=self.trust)

    @cached_property
    def config(self) -> PackageConfig | None:
        """What the model says of itself; None of a package that gvtzoo did not make."""
        from gvtzoo.bioimageio.package import is_foreign
        from gvtzoo.packages.reader import open_package

        if is_run(self.path):
            return read_run_config(self.path)
        return None if is_foreign(self.path) else open_package(self.path).config

    @property
    def trained_on(self) -> TrainedOn:
        """What the model has learned from; empty where that is not known."""
        from gvtzoo.packages.config import TrainedOn

        return TrainedOn() if self.config is None else self.config.trained_on

    @property
    def weights(self) -> str | None:
        """SHA-256 of a run's weights; None of packages."""
        return sha256_of(self.path / WEIGHTS) if is_run(self.path) else None

    @property
    def in_truth_units(self) -> bool:
        """Whether the model learned targets in the source's units, and goes back to these."""
        if self.config is None:
            return False
        normalization = self.config.normalization
        return normalization.undo and normalization.target == "as_source"

    def _prediction(self, path: Path, sigma: Path | None) -> Prediction:
        calibration = None if self.config is None else self.config.calibration
        return Prediction(path, sigma, self.in_truth_units, calibration)

    def predict(self, pair: EvaluationPair, progress: Progress | None = None) -> Prediction:
        """The kept prediction where model, source and files are unchanged, else a new one.

        Raises
        ------
        GvtzooError
            When the model cannot predict the image.
        """
        path = self.folder / f"{pair.place}.tif"
        sigma = path.with_name(f"{path.stem}{SIGMA}.tif")
        record = path.with_suffix(".json")
        made_of = {
            "model": self.identity,
            "source": digest_of(pair.source),
            "channel": pair.channel,
        }
        if _read_record(record).get("made_of") == made_of and _is_intact(record):
            return self._prediction(path, sigma if sigma.is_file() else None)
        for old in (record, path, sigma):
            old.unlink(missing_ok=True)
        has_sigma = self._make(pair, path, sigma, progress)
        files = [path, sigma] if has_sigma else [path]
        content = {"made_of": made_of, "files": {file.name: digest_of(file) for file in files}}
        with write_atomically(record) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        return self._prediction(path, sigma if has_sigma else None)

    def _make(
        self, pair: EvaluationPair, path: Path, sigma: Path, progress: Progress | None
    ) -> bool:
        """Predict into files; whether σ is one of them."""
        from gvtzoo.prediction.memory import within_memory
        from gvtzoo.prediction.model import Model

        exact = isinstance(self.loaded, Model) and self.loaded.config.exact
        with within_memory(self.settings, exact):
            return self._make_files(pair, path, sigma, progress)

    def _make_files(
        self, pair: EvaluationPair, path: Path, sigma: Path, progress: Progress | None
    ) -> bool:
        from gvtzoo.images.files import open_image, write_image
        from gvtzoo.prediction.exact.out_of_core import Output, identity_of, predict_large
        from gvtzoo.prediction.large import is_large
        from gvtzoo.prediction.model import Model

        model = self.loaded
        several = "c" in model.axes
        uncertainty = isinstance(model, Model) and model.config.uncertainty
        path.parent.mkdir(parents=True, exist_ok=True)
        reading: Any = {"channel": pair.channel, "keep_channels": several and pair.channel is None}
        image = open_image(pair.source, **reading)
        if isinstance(model, Model) and is_large(model, image, self.settings):
            output = Output(path, sigma if uncertainty else None)
            predict_large(
                model,
                image,
                output,
                self.settings,
                identity=identity_of(pair.source),
                progress=progress,
                **self._noting(pair),
            )
            return uncertainty
        results = model.predict(
            image.load(),
            uncertainty=uncertainty,
            progress=progress,
            **(self._noting(pair) if isinstance(model, Model) else {}),
            **vars(self.settings),
        )
        if isinstance(results, dict):
            first, *others = results
            log.warning("%s: only %s is measured, not %s", self.name, first, ", ".join(others))
            results = results[first]
        files = (path, sigma) if uncertainty else (path,)
        for file, result in zip(files, results if uncertainty else [results], strict=True):
            write_image(file, result)
        return uncertainty

    def _noting(self, pair: EvaluationPair) -> dict[str, Any]:
        """The argument by which a prediction tells how the image fits."""

        def note(fit: Fit) -> None:
            self.fits[pair.place.as_posix()] = fit

        return {"on_fit": note}


def tell_fits(candidates: Iterable[Candidate]) -> None:
    """Say in one line for each model how many images are unlike its training images."""
    for candidate in candidates:
        if not isinstance(candidate, ModelPredictions):
            continue
        unlike = {name: fit for name, fit in candidate.fits.items() if not fit.fits}
        for name, fit in unlike.items():
            log.info("%s %s", name, fit.sentence)
        if unlike:
            worst = max(unlike, key=lambda name: unlike[name].distance)
            log.warning(
                "%s: %d of %d images are unlike the training images, most of all %s, which %s",
                candidate.name,
                len(unlike),
                len(candidate.fits),
                worst,
                unlike[worst].sentence,
            )


def open_candidate(
    text: str, folder: Path, settings: Settings | None = None, *, trust: bool = False
) -> Candidate:
    """A model, a run folder or a folder of predictions, possibly with a name: ``NAME=WHAT``.

    Parameters
    ----------
    text : str
    folder : Path
        In which a model's predictions are kept, in a folder of its name.
    settings : Settings, optional
        How a model predicts.
    trust : bool
        As of `gvtzoo.load`.

    Raises
    ------
    GvtzooError
        When there is no such model or folder.
    """
    name, equals, what = text.partition("=")
    if not equals or Path(text).exists():
        name, what = "", text
    if not what:
        raise GvtzooError(f"{text!r} names no model: write NAME=MODEL")
    path = Path(what)
    if path.is_dir() and not is_run(path) and not is_package_folder(path):
        return PrecomputedPredictions(name or path.resolve().name, path)
    if what.endswith(("/", "\\")) and not path.exists():
        raise GvtzooError(f"there is no folder {what}")
    found = ModelPredictions("", what, folder).path
    if is_run(path):
        run_recipe(path)  # refused at once, not with every image
    name = name or (path.resolve().name if is_run(path) else _package_name(found, what))
    kept = folder / EvaluationPair(name, path, path).place
    return ModelPredictions(name, what, kept, settings or _default_settings(), trust)


def check_names(names: Sequence[str]) -> None:
    """That every candidate has a name of its own, and so its own folder of predictions.

    Parameters
    ----------
    names : sequence of str

    Raises
    ------
    GvtzooError
        When two names are the same, or give the same folder.
    """
    seen: set[str] = set()
    for name in names:
        place = str(EvaluationPair(name, Path(), Path()).place).casefold()
        if place in seen:
            raise GvtzooError(f"two models are called {name}: give them names, as first={name}")
        seen.add(place)


def digest_of(path: Path) -> str:
    """SHA-256 of a file; of a folder, of its files' names and contents."""
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    if is_run(path):
        check_run(path)
        files = [path / WEIGHTS, path / RECIPE]
    for file in files:
        digest.update(file.relative_to(path.parent).as_posix().encode())
        with file.open("rb") as content:
            for piece in iter(lambda: content.read(2**22), b""):
                digest.update(piece)
    return digest.hexdigest()


def _default_settings() -> Settings:
    from gvtzoo.prediction.settings import Settings

    return Settings()


def _package_name(path: Path, text: str) -> str:
    """The id that a package gives itself, or else its file's name."""
    from gvtzoo.packages.reader import read_description

    identity = read_description(path).get("id")
    return str(identity) if identity else Path(text).stem


def _image(folder: Path, stem: str) -> Path | None:
    suffixes = (spelled for suffix in IMAGE_SUFFIXES for spelled in (suffix, suffix.upper()))
    names = (folder / f"{stem}{suffix}" for suffix in suffixes)
    return next((path for path in names if path.exists()), None)


def _without_ome(stem: str) -> str:
    """The name of ``a.ome.tif`` in programs that write ``a.tif``."""
    return stem[: -len(".ome")] if stem.lower().endswith(".ome") else stem


def _read_record(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except (OSError, GvtzooError):
        return {}
    return content if isinstance(content, dict) else {}


def _is_intact(record: Path) -> bool:
    """Whether the files of a record are what they were."""
    files = _read_record(record).get("files")
    if not isinstance(files, dict) or record.with_suffix(".tif").name not in files:
        return False
    return all(
        (path := record.parent / name).is_file() and digest_of(path) == digest
        for name, digest in files.items()
    )
