"""``gvtzoo package``, ``gvtzoo import-tf``, ``gvtzoo test``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gvtzoo.cli.options import ModelName, Overwrite, Trust, progress_bar
from gvtzoo.core.errors import GvtzooError

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
    from gvtzoo.training.run import package_run

    typer.echo(str(package_run(run, output, overwrite=overwrite)))


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

    path = find_model(model)
    results = check_foreign(path, trust) if is_foreign(path) else check_package(path, trust=trust)
    for result in results:
        mark = "passed" if result.passed else "FAILED"
        typer.echo(f"{mark}  {result.name}{f': {result.detail}' if result.detail else ''}")
    if not all(result.passed for result in results):
        raise typer.Exit(1)
