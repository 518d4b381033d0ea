"""`gvtzoo.package`: a BioImage.IO package of a training, or of a model again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gvtzoo.core.files import sha256_of
from gvtzoo.core.progress import Progress
from gvtzoo.evaluation.folder import read_result
from gvtzoo.evaluation.rows import metric_rows
from gvtzoo.hub.load import load_own
from gvtzoo.hub.registry import find_model
from gvtzoo.images.files import find_images, open_image
from gvtzoo.images.lazy import LazyImage
from gvtzoo.packages.client_package import check_output, repackage, with_options
from gvtzoo.packages.identity import Identity
from gvtzoo.packages.run_folder import WEIGHTS, run_recipe
from gvtzoo.packages.writer import write_package
from gvtzoo.prediction.fix_attention import fix_attention
from gvtzoo.prediction.model import Model
from gvtzoo.recipes.metadata import ORIGINS, MetricRow
from gvtzoo.training.run import check_complete, package_run, run_metadata

DESCRIPTIONS = ("rdf.yaml", "bioimageio.yaml")


def package(
    model: str | Path,
    output: str | Path,
    *,
    attention_from: Sequence[str | Path] = (),
    tile: Sequence[int] | None = None,
    sigma: bool = False,
    axes: str | None = None,
    metrics: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    **identity: Any,
) -> Path:
    """Make a BioImage.IO package of a trained model, for Fiji, ilastik, napari and gvtzoo.

    Parameters
    ----------
    model : str or path
        A training's run folder; or a model as `gvtzoo.load` takes it, which is packaged again with
        today's exports.
    output : path
        Of the zip.
    attention_from : sequence of path
        Images, or folders of them, whose attention and normalization become part of the package:
        for ilastik, QuPath and other programs that cut images.
    tile : sequence of int, optional
        With `attention_from`, the one size of tiles, (z,) y, x.
    sigma : bool
        Give other programs σ instead of the prediction.
    axes : str, optional
        Of the images of `attention_from`, where files do not tell.
    metrics : path, optional
        Of a run: a report of `gvtzoo.evaluate` with its metrics.
    overwrite : bool
        Whether a file that exists is replaced.
    progress : callable, optional
        ``progress(done, all)``, while the images of `attention_from` are looked at.
    **identity
        Of a run, what is said of the model: fields of `gvtzoo.packages.identity.Identity`, such as
        id, name, description, license, authors.

    Returns
    -------
    Path
        Of the zip.

    Raises
    ------
    GvtzooError
        When the model cannot be packaged, or what is said of it is not valid.

    Examples
    --------
    >>> import gvtzoo
    >>> gvtzoo.package(
    ...     "run/", "mine.zip", license="CC-BY-4.0", authors=[{"name": "Ada Lovelace"}]
    ... )  # doctest: +SKIP
    PosixPath('mine.zip')
    """
    output = Path(output)
    if attention_from:
        check_output(output, overwrite)
        own = load_own(model)
        opened = [open_named(file, axes) for path in attention_from for file in find_images(path)]
        fixed = fix_attention(own, opened, progress=progress)
        return write_package(
            output,
            network=fixed.network,
            config=with_options(fixed.config, None if tile is None else tuple(tile), sigma),
            example=first_frame(own, opened[0]),
            overwrite=overwrite,
        )
    if sigma or not is_run_folder(model):
        return repackage(find_model(model), output, sigma=sigma, overwrite=overwrite)
    run = Path(model)
    check_complete(run)
    return package_run(
        run,
        output,
        overwrite=overwrite,
        metadata=run_metadata(run, output.stem, Identity(**identity)),
        metrics=None if metrics is None else _metric_rows(run, metrics),
    )


def is_run_folder(name: str | Path) -> bool:
    """Whether a folder is a run, complete or not, and no package."""
    folder = Path(name)
    return folder.is_dir() and not any((folder / file).exists() for file in DESCRIPTIONS)


def first_frame(model: Model, image: LazyImage) -> np.ndarray:
    """The first time and position, (channel, (z,) y, x), as the network gets it, raw."""
    suited = model.suit(image)
    return model.frames(suited.array, suited.dims)[0].load()


def open_named(path: Path, axes: str | None) -> LazyImage:
    """An image that is called as its file is, with the ending."""
    return replace(open_image(path, axes=axes), name=path.name)


def _metric_rows(run: Path, report: str | Path) -> list[MetricRow]:
    """What an evaluation found of a run."""
    title = ORIGINS[run_recipe(run).network.architecture].title
    return metric_rows(read_result(report), sha256_of(run / WEIGHTS), title)
