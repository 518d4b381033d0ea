"""The commands ``gvtzoo package``, ``import-tf`` and ``test``: packages made and checked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gvtzoo.cli.options import Axes, ModelName, Overwrite, Trust, next_step, progress_bar, shown
from gvtzoo.core.errors import GvtzooError

if TYPE_CHECKING:
    from gvtzoo.packages.config import ClientLoss

PackageFile = Annotated[Path, typer.Option("--output", "-o", help="The package, a .zip file.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("package")(package)
    app.command("import-tf")(import_tf)
    app.command("test")(test)


def package(
    model: Annotated[
        str, typer.Argument(metavar="RUN|MODEL", help="A training's run folder, or a model.")
    ],
    output: PackageFile,
    attention_from: Annotated[
        list[Path] | None,
        typer.Option(
            "--attention-from",
            metavar="IMAGE...",
            help="Images, or a folder of them, whose attention and normalization become part of "
            "the package: for ilastik, QuPath and other programs that cut images.",
        ),
    ] = None,
    more: Annotated[list[Path] | None, typer.Argument(hidden=True)] = None,
    tile: Annotated[
        str | None,
        typer.Option(help="With --attention-from: the one size of tiles, such as 32,128,128."),
    ] = None,
    sigma: Annotated[
        bool, typer.Option("--sigma", help="Give other programs σ instead of the prediction.")
    ] = False,
    axes: Axes = None,
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

    A MODEL is packaged again, with today's exports. Author, maintainer and licence of a run's
    package may stand in config.toml in your settings folder; what is missing for publishing is
    asked for on a terminal.
    """
    if (more or tile) and not attention_from:
        raise typer.BadParameter("give --attention-from IMAGE...")
    if attention_from:
        images = [*attention_from, *(more or [])]
        _package_with_attention(model, images, output, tile, sigma, axes, overwrite)
        return
    from gvtzoo.api.package import is_run_folder
    from gvtzoo.api.package import package as make_package

    if sigma or not is_run_folder(model):
        typer.echo(str(make_package(model, output, sigma=sigma, overwrite=overwrite)))
        return
    run = Path(model)
    from gvtzoo.cli import identity
    from gvtzoo.packages.identity import Identity
    from gvtzoo.packages.run_folder import read_run_config
    from gvtzoo.training.run import check_complete, run_metadata

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
    made = make_package(run, output, metrics=metrics, overwrite=overwrite, **vars(given))
    lacking = identity.lacking(run_metadata(run, output.stem, given))
    missing = [identity.WANTED[key] for key in lacking]
    if metrics is None and not read_run_config(run).metrics:
        missing.append("--metrics")
    if missing:
        typer.echo(f"gvtzoo: to publish {made}, package it with {', '.join(missing)}", err=True)
    typer.echo(str(made))
    next_step(f"gvtzoo test {made}; gvtzoo predict {made} IMAGE -o OUT.tif")


def _package_with_attention(
    name: str,
    images: list[Path],
    output: Path,
    tile: str | None,
    sigma: bool,
    axes: str | None,
    overwrite: bool,
) -> None:
    from gvtzoo.api.package import package as make_package
    from gvtzoo.images.files import find_images

    with progress_bar("looking at the images") as report:
        made = make_package(
            name,
            output,
            attention_from=images,
            tile=_tile_of(tile),
            sigma=sigma,
            axes=axes,
            overwrite=overwrite,
            progress=shown(report),
        )
    typer.echo(str(made))
    image = find_images(images[0])[0]
    typer.echo(f"gvtzoo: what programs lose with it: gvtzoo test {made} --image {image}", err=True)


def _tile_of(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.replace("x", ",").split(","))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no size of tiles: such as 32,128,128") from error


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
    next_step(f"gvtzoo test {made}")


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


def test(
    model: ModelName,
    image: Annotated[
        Path | None,
        typer.Option(
            help="An image, on which is measured what each program's way of cutting costs."
        ),
    ] = None,
    axes: Axes = None,
    write: Annotated[
        bool,
        typer.Option(help="Whether what --image finds goes into the package and its card."),
    ] = True,
    trust: Trust = False,
) -> None:
    """Check a package: bioimageio's own tests of every weights format, and ours.

    With --image, instead: how far the prediction in Fiji, ilastik, QuPath and bioimageio.core is
    from that of the whole image, by a simulation of their ways.

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
    if image is not None:
        if is_foreign(path):
            raise GvtzooError(f"{model} was not made by gvtzoo: it can be tested without --image")
        _measure_clients(path, image, axes, write and path == Path(model))
        return
    results = check_foreign(path, trust) if is_foreign(path) else check_package(path, trust=trust)
    for result in results:
        mark = "passed" if result.passed else "FAILED"
        typer.echo(f"{mark}  {result.name}{f': {result.detail}' if result.detail else ''}")
    if not all(result.passed for result in results):
        raise typer.Exit(1)
    next_step(f"gvtzoo predict {model} IMAGE -o OUT.tif; gvtzoo publish {model} ORG/NAME")


def _measure_clients(path: Path, image: Path, axes: str | None, write: bool) -> None:
    """The table of losses on standard output, and in the package where it is a file of the user."""
    from gvtzoo.api.package import first_frame, open_named
    from gvtzoo.hub.load import load_own
    from gvtzoo.hub.registry import local_models
    from gvtzoo.packages.checks import measure_clients, whole_in_units_of
    from gvtzoo.packages.reader import open_package
    from gvtzoo.packages.rewriting import rewrite_package

    package = open_package(path)
    frame = first_frame(load_own(path), open_named(image, axes))[None]
    fixed = package.config.fixed
    original = None if fixed is None else local_models().get(fixed.model)
    whole = None
    if original is not None:
        whole = whole_in_units_of(package, open_package(original), frame)
    elif fixed is not None:
        typer.echo(
            f"gvtzoo: {fixed.model} is not here: compared with this package's own prediction of "
            "the whole image, so without what the fixed attention costs",
            err=True,
        )
    with progress_bar("measuring") as report:
        rows = measure_clients(package, frame, image.name, whole, shown(report))
    for row in rows:
        typer.echo("\t".join(_loss_cells(row)))
    if write and path.is_file():
        rewrite_package(path, {"clients": rows}, path, overwrite=True)
        typer.echo(f"gvtzoo: this table is now in {path} and its card", err=True)


def _loss_cells(row: ClientLoss) -> list[str]:
    if row.max_difference is None or row.pearson_r is None:
        return [row.client, row.weights, row.note]
    cells = [
        f"{row.tiles} tile{'s' if row.tiles != 1 else ''}",
        f"largest difference {100 * row.max_difference:.2g} % of the range",
        f"r {row.pearson_r:.6f}",
    ]
    if row.seams is not None:
        cells.append(f"seams {100 * row.seams:.2g} %")
    return [row.client, row.weights, *cells]
