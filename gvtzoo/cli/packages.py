"""The commands ``gvtzoo package``, ``import-tf`` and ``test``: packages made and checked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gvtzoo.cli.options import ModelName, Overwrite, Trust, progress_bar
from gvtzoo.core.errors import GvtzooError

if TYPE_CHECKING:
    from gvtzoo.recipes.metadata import MetricRow

PackageFile = Annotated[Path, typer.Option("--output", "-o", help="The package, a .zip file.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("package")(package)
    app.command("import-tf")(import_tf)
    app.command("test")(test)


def package(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A training's run folder.")],
    output: PackageFile,
    identifier: Annotated[
        str | None, typer.Option("--id", help="Lower case, as commands name the model.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="For people, of 5 letters or more.")] = None,
    version: Annotated[str | None, typer.Option(help="Such as 1.2.0.")] = None,
    description: Annotated[str | None, typer.Option(help="One sentence.")] = None,
    author: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'NAME; AFFILIATION; ORCID'",
            help="Repeat it for several; by default GVTZOO_AUTHOR, or that of your settings.",
        ),
    ] = None,
    maintainer: Annotated[
        list[str] | None,
        typer.Option(metavar="'ACCOUNT; NAME'", help="Account on GitHub of who answers questions."),
    ] = None,
    license_name: Annotated[
        str | None, typer.Option("--license", help="Of the weights, such as CC-BY-4.0 (SPDX).")
    ] = None,
    data_name: Annotated[
        list[str] | None, typer.Option(help="A data set that was trained on; repeat it.")
    ] = None,
    data_license: Annotated[
        list[str] | None, typer.Option(help="Its licence, in the order of the names.")
    ] = None,
    data_url: Annotated[list[str] | None, typer.Option(help="Its address.")] = None,
    data_id: Annotated[list[str] | None, typer.Option(help="Its id on bioimage.io.")] = None,
    recipe_data: Annotated[
        bool,
        typer.Option("--recipe-data", help="It was trained on the data that its recipe names."),
    ] = False,
    git_repo: Annotated[str | None, typer.Option(help="Address of the code's repository.")] = None,
    metrics: Annotated[
        Path | None,
        typer.Option(metavar="REPORT", help="A folder of `gvtzoo evaluate RUN` with the metrics."),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Make a BioImage.IO package of a trained model, for Fiji, ilastik, napari and gvtzoo.

    Author, maintainer and licence may stand in config.toml in your settings folder; what is missing
    for publishing is asked for on a terminal.
    """
    from gvtzoo.cli import identity
    from gvtzoo.packages.identity import Identity
    from gvtzoo.packages.run_folder import read_run_config
    from gvtzoo.training.run import check_complete, package_run, run_metadata

    check_complete(run)
    given = identity.with_defaults(
        Identity(
            id=identifier,
            name=name,
            version=version,
            description=description,
            license=license_name,
            git_repo=git_repo,
            authors=tuple(map(identity.author_of, author or ())),
            maintainers=tuple(map(identity.maintainer_of, maintainer or ())),
            data=identity.data_of(
                data_name or [], data_license or [], data_url or [], data_id or []
            ),
            recipe_data=recipe_data,
        )
    )
    given = identity.ask(given, run_metadata(run, output.stem, given))
    metadata = run_metadata(run, output.stem, given)
    rows = None if metrics is None else _metric_rows(run, metrics)
    made = package_run(run, output, overwrite=overwrite, metadata=metadata, metrics=rows)
    missing = [identity.WANTED[key] for key in identity.lacking(metadata)]
    if rows is None and not read_run_config(run).metrics:
        missing.append("--metrics")
    if missing:
        typer.echo(f"gvtzoo: to publish {made}, package it with {', '.join(missing)}", err=True)
    typer.echo(str(made))


def _metric_rows(run: Path, report: Path) -> list[MetricRow]:
    """What an evaluation found of a run."""
    from gvtzoo.core.files import sha256_of
    from gvtzoo.evaluation.folder import read_result
    from gvtzoo.evaluation.rows import metric_rows
    from gvtzoo.packages.run_folder import RECIPE, WEIGHTS
    from gvtzoo.recipes.metadata import ORIGINS
    from gvtzoo.recipes.recipe import load_recipe

    title = ORIGINS[load_recipe(run / RECIPE).network.architecture].title
    return metric_rows(read_result(report), sha256_of(run / WEIGHTS), title)


def import_tf(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="CHECKPOINT",
            help="The prefix, or the folder it lies in; with --all the authors' save_dir.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The package, a .zip file; with --all a folder. Published models go to the "
            "models folder by default, where commands find them by name.",
        ),
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="The recipe that the network was trained by.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="The reference implementation's settings, a config.json.")
    ] = None,
    import_all: Annotated[
        bool, typer.Option("--all", help="Import all of the paper's published models.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Make a package of a TensorFlow checkpoint of the paper's code.

    With --all, CHECKPOINT is the save_dir of a clone of the authors' repository. A model's
    checkpoint is the one below a folder that is named like its recipe (dna, Lamin-B1,
    gvtnet_planaria).
    """
    if sum((recipe is not None, config is not None, import_all)) != 1:
        raise typer.BadParameter("give one of --recipe, --config and --all")
    from gvtzoo.hub.installed import models_folder
    from gvtzoo.hub.published import import_published, published_entry
    from gvtzoo.packages.importing import import_checkpoint, read_config
    from gvtzoo.recipes.recipe import load_recipe

    if import_all:
        _import_all(checkpoint, output or models_folder(), overwrite)
        return
    entry = None if recipe is None else published_entry(recipe)
    if entry is not None:
        target = output or models_folder() / f"{entry.id}.zip"
        typer.echo(str(import_published(entry, checkpoint, target, overwrite=overwrite)))
        return
    if output is None:
        raise typer.BadParameter("give --output: only published models have a place of their own")
    made = import_checkpoint(
        checkpoint,
        config=None if config is None else read_config(config),
        recipe=None if recipe is None else load_recipe(recipe),
        output=output,
        overwrite=overwrite,
    )
    typer.echo(str(made))


def _import_all(save_dir: Path, folder: Path, overwrite: bool) -> None:
    """Every published model; one that fails does not stop the others."""
    from gvtzoo.hub.published import find_checkpoints, import_published, published_models

    checkpoints, failed = find_checkpoints(save_dir), 0
    with progress_bar("importing") as report:
        for number, (name, entry) in enumerate(published_models().items()):
            if report is not None:
                report(number, len(checkpoints), name)
            target = folder / f"{name}.zip"
            if target.exists() and not overwrite:
                typer.echo(f"gvtzoo: {name}: {target} exists, skipped (--overwrite)", err=True)
                continue
            try:
                checkpoint = checkpoints[name]
                if isinstance(checkpoint, GvtzooError):
                    raise checkpoint
                import_published(entry, checkpoint, target, overwrite=overwrite)
                typer.echo(str(target))
            except (GvtzooError, OSError) as error:
                failed += 1
                typer.echo(f"gvtzoo: {name}: {error}", err=True)
    if failed:
        typer.echo(f"gvtzoo: {failed} of {len(checkpoints)} models failed", err=True)
        raise typer.Exit(1)


def test(model: ModelName, trust: Trust = False) -> None:
    """Check a package: bioimageio's own tests of every weights format, and ours.

    Packages of others are tested by bioimageio's only. Code that gvtzoo has not written itself
    runs with --trust only, whatever the package says of its origin.
    """
    from gvtzoo.bioimageio.package import check_foreign, is_foreign
    from gvtzoo.hub.registry import find_model
    from gvtzoo.packages.checks import check_package
    from gvtzoo.packages.run_folder import is_run

    path = find_model(model)
    if is_run(path):
        raise GvtzooError(
            f"{path} is a run folder, which only gvtzoo reads: test a package of it, "
            f"`gvtzoo package {path} -o MODEL.zip`"
        )
    results = check_foreign(path, trust) if is_foreign(path) else check_package(path, trust=trust)
    for result in results:
        mark = "passed" if result.passed else "FAILED"
        typer.echo(f"{mark}  {result.name}{f': {result.detail}' if result.detail else ''}")
    if not all(result.passed for result in results):
        raise typer.Exit(1)
