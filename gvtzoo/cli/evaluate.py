"""The command ``gvtzoo evaluate``: models against truths, with a report."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gvtzoo.cli.interrupt import interruptible
from gvtzoo.cli.options import AsJson, Device, Overwrite, Trust, next_step, progress_bar
from gvtzoo.cli.predict import Tiling
from gvtzoo.cli.table import table_lines
from gvtzoo.core.errors import GvtzooError

if TYPE_CHECKING:
    from gvtzoo.evaluation.results import ComparisonRow, Evaluation, SummaryRow
    from gvtzoo.prediction.settings import Settings

SHOWN = {"ssim": "SSIM", "nrmse": "NRMSE", "r": "r"}  # compared in words

SIGNIFICANT = 0.05

Models = Annotated[
    list[str],
    typer.Argument(
        metavar="[NAME=]MODEL|PREDICTIONS...",
        help="Models as `gvtzoo predict` takes them, run folders, or folders of predictions that "
        "have the images' names.",
    ),
]
Data = Annotated[
    Path | None,
    typer.Option("--data", help="Folder with source/ and target/, or a CSV with such columns."),
]
Noisy = Annotated[
    list[Path] | None,
    typer.Option(
        "--noisy",
        metavar="IMAGE",
        help="In place of --data, a noisy image without truth: frames of a time series are "
        "measured against the next ones, a single image against a part of its photons.",
    ),
]
Memory = Annotated[
    str | None,
    typer.Option(help="What a prediction may take beyond input and output, such as 4GB."),
]
TilingOption = Annotated[Tiling, typer.Option(help="How models predict, as of `gvtzoo predict`.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("evaluate")(evaluate)


def evaluate(
    models: Models,
    output: Annotated[Path, typer.Option("--output", "-o", help="The report's folder.")],
    data: Data = None,
    noisy: Noisy = None,
    conditions: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Folders beside target/ in the place of source/: noise levels of one truth.",
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="Test images as this recipe reads them: regions, simulated noise."),
    ] = None,
    resolution: Annotated[
        bool, typer.Option("--resolution", help="Fourier ring or shell correlation, too.")
    ] = False,
    segmentation: Annotated[
        bool, typer.Option("--segmentation", help="Overlap of thresholded objects, too.")
    ] = False,
    with_input: Annotated[
        bool, typer.Option("--input", help="Compare with the input images, too.")
    ] = False,
    tiling: TilingOption = Tiling.auto,
    memory: Memory = None,
    device: Device = "auto",
    trust: Trust = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Measure models on image pairs, compare them, and write a report.

    The report's folder holds index.html, tables, and the predictions, which are not made again as
    long as model, image and settings are the same.
    """
    from gvtzoo.api.evaluate import check_choices
    from gvtzoo.api.evaluate import evaluate as run_evaluation
    from gvtzoo.evaluation.folder import PREDICTIONS
    from gvtzoo.report.page import PAGE

    chosen = [name.strip() for name in (conditions or "").split(",") if name.strip()]
    settings = prediction_settings(tiling, memory, device)
    try:
        check_choices(data, noisy or (), chosen, recipe, needs_truth=resolution or segmentation)
    except GvtzooError as error:
        raise typer.BadParameter(str(error)) from error
    with (
        interruptible(lambda: predictions_kept(output / PREDICTIONS)),
        progress_bar("evaluating") as report,
    ):
        evaluation = run_evaluation(
            models,
            data,
            output,
            noisy=noisy or (),
            conditions=chosen,
            recipe=recipe,
            resolution=resolution,
            segmentation=segmentation,
            with_input=with_input,
            trust=trust,
            overwrite=overwrite,
            command=command_line(),
            progress=report,
            **vars(settings),
        )
    page = output / PAGE
    if as_json:
        typer.echo(evaluation.model_dump_json(indent=1))
        return
    for line in summary_lines(evaluation):
        typer.echo(line)
    for line in evaluation.caveats():
        typer.echo(line)
    for row in evaluation.comparisons:
        if row.metric in SHOWN and not row.structure:
            typer.echo(in_words(row))
    typer.echo(f"report: {page}", err=True)
    next_step(f"open {page}")


def predictions_kept(folder: Path) -> str:
    """What an interrupted evaluation leaves, and how it goes on."""
    return f"predictions that were made are kept in {folder}: the same command goes on with them"


def prediction_settings(tiling: Tiling, memory: str | None, device: str) -> Settings:
    """The options of predictions, checked.

    Parameters
    ----------
    tiling : Tiling
    memory : str, optional
        Such as ``4GB``.
    device : str

    Raises
    ------
    typer.BadParameter
        When a value is not one that `Settings` takes.
    """
    from gvtzoo.prediction.settings import Settings

    try:
        return Settings(device=device, tiling=tiling.value, memory=memory)  # type: ignore[arg-type]
    except GvtzooError as error:
        raise typer.BadParameter(str(error)) from error


def command_line() -> str:
    """The command as it was typed."""
    import shlex
    import sys

    return shlex.join(["gvtzoo", *sys.argv[1:]])


def summary_lines(evaluation: Evaluation) -> Iterator[str]:
    """Mean ± deviation of each metric, a row for each model and group of images."""
    from itertools import groupby

    header = ["model", "images", "n", *evaluation.metrics]
    rows = []
    by_group = groupby(
        evaluation.summaries, key=lambda row: (row.condition, row.structure, row.model)
    )
    for (condition, structure, model), group in by_group:
        found = {row.metric: row for row in group}
        values = [_mean(found[name]) if name in found else "" for name in evaluation.metrics]
        count = max(row.count for row in found.values())
        rows.append([model, condition or structure or "all", str(count), *values])
    yield from table_lines(header, rows)


def _mean(row: SummaryRow) -> str:
    return f"{row.mean:.4g} ± {row.deviation:.2g}" if row.count > 1 else f"{row.mean:.4g}"


def in_words(row: ComparisonRow) -> str:
    """A comparison as a sentence."""
    from gvtzoo.evaluation.statistics import FEWEST, LOWER_IS_BETTER

    better = row.difference < 0 if row.metric in LOWER_IS_BETTER else row.difference > 0
    verdict = "better" if row.t_p_holm < SIGNIFICANT else "on average, not clearly, better"
    if not better:
        verdict = "not better"
    where = f" ({row.condition})" if row.condition else ""
    found = (
        f"{row.first} is {verdict} than {row.second} in "
        f"{SHOWN[row.metric]}{where}: difference {row.difference:+.4f}, n = {row.count}"
    )
    if row.count < FEWEST:
        return f"{found}; fewer than {FEWEST} prove nothing"
    if math.isnan(row.t_p_holm):
        return f"{found}; all differences are equal, which no test is made for"
    many = f", corrected (Holm) for {row.tests} tests" if row.tests > 1 else ""
    return (
        f"{found}, d = {row.effect_size:.2f}; that it is better: one-tailed paired t-test "
        f"p = {row.t_p_holm:.2g}, Wilcoxon p = {row.wilcoxon_p_holm:.2g}{many}"
    )


def named(values: list[str], what: str) -> dict[str, str]:
    """``NAME=VALUE`` options by name.

    Raises
    ------
    GvtzooError
    """
    found: dict[str, str] = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise GvtzooError(f"{what} {text!r} is not of the form NAME=VALUE")
        if name in found:
            raise GvtzooError(f"{what} names {name} twice")
        found[name] = value
    return found
