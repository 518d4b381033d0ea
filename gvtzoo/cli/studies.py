"""The commands ``gvtzoo sweep`` and ``transfer``: models beyond what they were made for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gvtzoo.cli.evaluate import Memory, command_line, named, prediction_settings, predictions_kept
from gvtzoo.cli.interrupt import interruptible
from gvtzoo.cli.options import Device, ModelName, Overwrite, Trust, next_step, progress_bar
from gvtzoo.cli.predict import Tiling
from gvtzoo.cli.table import table_lines
from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.progress import Progress, Report

if TYPE_CHECKING:
    from gvtzoo.evaluation.pairs import EvaluationPair
    from gvtzoo.evaluation.sweep import SweepRow

MATRICES = ("ssim", "r", "nrmse")
RecipeName = Annotated[
    str | None, typer.Option(help="Test images as this recipe reads them: regions, noise.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("sweep")(sweep)
    app.command("transfer")(transfer)


def sweep(
    model: ModelName,
    data: Annotated[
        Path, typer.Option("--data", help="Folder with source/ and target/, or a CSV.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="A folder for the results.")],
    tile: Annotated[
        list[str] | None,
        typer.Option(
            metavar="Z,Y,X",
            help="A size; by default the training patch, doubled until the whole image.",
        ),
    ] = None,
    recipe: RecipeName = None,
    images: Annotated[int, typer.Option(help="How many images at most.", min=1)] = 3,
    package: Annotated[
        Path | None,
        typer.Option(help="Write the model as a package whose tiling hint is what was found."),
    ] = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Measure what predictions lose in tiles of several sizes against the whole image.

    Tiles with a halo as wide as the convolutions reach, averaged blocks, and exact tiles, from the
    training patch to the whole image.
    """
    from gvtzoo.evaluation.folder import write_text
    from gvtzoo.evaluation.sweep import mean_rows, sweep_pair, tiling_hint
    from gvtzoo.hub.load import load_own
    from gvtzoo.packages.run_folder import is_run
    from gvtzoo.report.figures import sweep_curve
    from gvtzoo.report.sweep import sweep_sentence, write_sweep_page

    if package is not None:
        _check_new(package, overwrite)
        if is_run(model):
            raise GvtzooError(f"{model} is a run folder: package it first, then sweep the package")
    _check_new(output / "sweep.csv", overwrite)
    loaded = load_own(model)
    if not loaded.config.network.sees_whole_image:
        raise GvtzooError(
            f"{model} does not look at the whole image: tiles with a halo lose nothing"
        )
    pairs = _spread(_pairs(data, recipe, output / "images"), images)
    with progress_bar("sweeping") as shown:
        sweeps = [
            sweep_pair(loaded, pair, _tiles(tile), device, _share(shown, number, len(pairs)))
            for number, pair in enumerate(pairs)
        ]
    rows = mean_rows(sweeps)
    write_text(output / "sweep.csv", _sweep_csv(rows))
    _save(sweep_curve(rows, "ssim"), output / "sweep.png")
    _save(sweep_curve(rows, "pearson_r"), output / "sweep_r.png")
    page = write_sweep_page(
        rows,
        output,
        model=model,
        data=str(data),
        command=command_line(),
        files={"sweep.csv": "the table"},
    )
    for line in _sweep_lines(rows):
        typer.echo(line)
    typer.echo(sweep_sentence(rows), err=True)
    typer.echo(f"report: {page}", err=True)
    if package is not None:
        from gvtzoo.hub.registry import find_model
        from gvtzoo.packages.rewriting import rewrite_package

        written = rewrite_package(
            find_model(model), {"tiling": tiling_hint(rows)}, package, overwrite=overwrite
        )
        typer.echo(f"package with this tiling hint: {written}", err=True)
    next_step(f"open {page}")


def transfer(
    models: Annotated[
        list[str], typer.Argument(metavar="[NAME=]MODEL...", help="As of `gvtzoo evaluate`.")
    ],
    data: Annotated[
        list[str],
        typer.Option("--data", metavar="NAME=DIR", help="A data set, with its name; repeat it."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The report's folder.")],
    recipe: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=RECIPE", help="How the data set NAME is read; repeat it."),
    ] = None,
    tiling: Annotated[Tiling, typer.Option(help="As of `gvtzoo predict`.")] = Tiling.auto,
    memory: Memory = None,
    device: Device = "auto",
    trust: Trust = False,
    overwrite: Overwrite = False,
) -> None:
    """Measure every model on every data set.

    The folder holds transfer.html with the means of SSIM, r and NRMSE, these as tables and
    pictures, and the report of `gvtzoo evaluate`.
    """
    from gvtzoo.evaluation import folder as report_folder
    from gvtzoo.evaluation.predictions import check_names, open_candidate
    from gvtzoo.evaluation.results import csv_text
    from gvtzoo.evaluation.transfer import transfer as run_transfer
    from gvtzoo.recipes.recipe import load_recipe
    from gvtzoo.report.figures import transfer_matrix
    from gvtzoo.report.page import write_result
    from gvtzoo.report.transfer import write_transfer_page

    places, recipes = named(data, "--data"), named(recipe or [], "--recipe")
    unknown = next((name for name in recipes if name not in places), None)
    if unknown is not None:
        raise GvtzooError(f"--recipe names {unknown}, which is no data set of --data")
    settings = prediction_settings(tiling, memory, device)
    kept = output / report_folder.PREDICTIONS
    candidates = [open_candidate(text, kept, settings, trust=trust) for text in models]
    check_names([candidate.name for candidate in candidates])
    identity: dict[str, Any] = {
        "models": {candidate.name: candidate.identity for candidate in candidates},
        "data": {name: str(Path(place).resolve()) for name, place in places.items()},
        "recipes": recipes,
    }
    for name in recipes.values():
        load_recipe(name)
    report_folder.claim(output, identity, overwrite=overwrite)
    sets = {
        name: _pairs(Path(place), recipes.get(name), output / report_folder.IMAGES, name)
        for name, place in places.items()
    }
    with interruptible(lambda: predictions_kept(kept)), progress_bar("evaluating") as shown:
        found = run_transfer(candidates, sets, output, command=command_line(), progress=shown)
    for metric in MATRICES:
        matrix = found.matrix(metric)
        rows = [
            [model, *(f"{value:.4f}" for value in row)]
            for model, row in zip(found.models, matrix, strict=True)
        ]
        for line in table_lines([metric, *found.data_sets], rows):
            typer.echo(line)
        table = csv_text([[metric, *found.data_sets], *rows])
        report_folder.write_text(output / f"transfer_{metric}.csv", table)
        figure = transfer_matrix(found.models, found.data_sets, matrix, metric)
        _save(figure, output / f"transfer_{metric}.png")
    tables = {f"transfer_{metric}.csv": f"the matrix of {metric}" for metric in MATRICES}
    page = write_transfer_page(found, output, MATRICES, files=tables)
    report = write_result(output, found.evaluation)
    typer.echo(f"matrices: {page}; report: {report}", err=True)
    next_step(f"open {page}")


def _pairs(
    data: Path, recipe: str | None, images: Path, structure: str = ""
) -> list[EvaluationPair]:
    from gvtzoo.evaluation.pairs import find_pairs, write_recipe_pairs
    from gvtzoo.recipes.recipe import load_recipe

    if recipe is None:
        return find_pairs(data, structure=structure)
    return write_recipe_pairs(load_recipe(recipe), data, images, structure=structure)


def _spread(pairs: Sequence[EvaluationPair], count: int) -> list[EvaluationPair]:
    """As many pairs, from the first to the last."""
    if len(pairs) <= count:
        return list(pairs)
    return [pairs[number * len(pairs) // count] for number in range(count)]


def _share(report: Report | None, number: int, count: int) -> Progress | None:
    if report is None:
        return None
    return lambda done, total: report(number + done / total, count, f"image {number + 1}")


def _tiles(texts: Sequence[str] | None) -> list[tuple[int, ...]]:
    try:
        return [tuple(map(int, text.replace("x", ",").split(","))) for text in texts or ()]
    except ValueError:
        raise typer.BadParameter(f"--tile {texts}: write sizes like 32,64,64") from None


def _sweep_lines(rows: Sequence[SweepRow]) -> Iterator[str]:
    from gvtzoo.report.sweep import size_text

    header = ["method", "tile", "r with whole", "largest difference", "SSIM", "NRMSE", "r"]
    yield from table_lines(
        header,
        [
            [
                row.method,
                size_text(row),
                f"{row.pearson_r:.5f}",
                f"{row.max_difference:.2g}",
                *(f"{row.metrics[name]:.4f}" for name in ("ssim", "nrmse", "r")),
            ]
            for row in rows
        ],
    )


def _sweep_csv(rows: Sequence[SweepRow]) -> str:
    metrics = list(rows[0].metrics)
    header = ["method", "tile", "halo", "images", "r_with_whole", "largest_difference", *metrics]
    from gvtzoo.evaluation.results import csv_text

    return csv_text(
        [
            header,
            *(
                [
                    row.method,
                    "whole" if row.tile is None else "x".join(map(str, row.tile)),
                    "x".join(map(str, row.halo)),
                    row.images,
                    row.pearson_r,
                    row.max_difference,
                    *(row.metrics[name] for name in metrics),
                ]
                for row in rows
            ),
        ]
    )


def _check_new(path: Path, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise GvtzooError(f"{path} exists: choose another name, or --overwrite")


def _save(figure: Any, path: Path) -> None:
    from gvtzoo.core.files import write_atomically

    with write_atomically(path) as temporary:
        figure.savefig(temporary, dpi=110)
