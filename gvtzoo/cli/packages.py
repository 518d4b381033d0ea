"""``gvtzoo package``, ``gvtzoo import-tf``, ``gvtzoo test``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gvtzoo.cli.options import ModelName, Overwrite

PackageFile = Annotated[Path, typer.Option("--output", "-o", help="The package, a .zip file.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("package")(package)
    app.command("import-tf")(import_tf)
    app.command("test")(test)


def package(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A training's run folder.")],
    output: PackageFile,
    overwrite: Overwrite = False,
) -> None:
    """Make a BioImage.IO package of a trained model, for Fiji, ilastik, napari and gvtzoo."""
    from gvtzoo.packaging.run import package_run

    typer.echo(str(package_run(run, output, overwrite=overwrite)))


def import_tf(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="The prefix, or the folder it lies in.")
    ],
    output: PackageFile,
    recipe: Annotated[
        str | None, typer.Option(help="The recipe that the network was trained by.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="The reference implementation's settings, a config.json.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Make a package of a TensorFlow checkpoint of the paper's code."""
    if (recipe is None) == (config is None):
        raise typer.BadParameter("give either --recipe or --config")
    from gvtzoo.packaging.importing import import_checkpoint, read_config
    from gvtzoo.training.recipe import load_recipe

    made = import_checkpoint(
        checkpoint,
        config=None if config is None else read_config(config),
        recipe=None if recipe is None else load_recipe(recipe),
        output=output,
        overwrite=overwrite,
    )
    typer.echo(str(made))


def test(model: ModelName) -> None:
    """Check a package: bioimageio's own tests of every weights format, and ours."""
    from gvtzoo.hub.registry import find_model
    from gvtzoo.packaging.checks import check_package

    results = check_package(find_model(model))
    for result in results:
        mark = "passed" if result.passed else "FAILED"
        typer.echo(f"{mark}  {result.name}{f': {result.detail}' if result.detail else ''}")
    if not all(result.passed for result in results):
        raise typer.Exit(1)
