"""``gvtzoo train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gvtzoo.cli.options import DataFolder, Device, progress_bar

Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY.SUB=VALUE", help="Change a setting.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("recipes")(recipes)
    app.command("train")(train)


def recipes(
    recipe: Annotated[
        str | None, typer.Argument(metavar="[RECIPE]", help="A recipe's name or a YAML file.")
    ] = None,
    settings: Settings = None,
) -> None:
    """List the recipes, or show one with everything that it extends."""
    from gvtzoo.training.recipe import load_recipe, recipe_names, to_yaml

    if recipe is not None:
        typer.echo(to_yaml(load_recipe(recipe, settings or [])), nl=False)
        return
    for name in recipe_names():
        typer.echo(f"{name:32} {load_recipe(name).description}")


def train(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A recipe's name or a YAML file.")
    ],
    data: DataFolder,
    output: Annotated[Path, typer.Option("--output", "-o", help="The run folder.")],
    settings: Settings = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue where it stopped.")] = False,
    weights: Annotated[
        Path | None, typer.Option(help="Weights to start from: a run's best.safetensors.")
    ] = None,
    device: Device = "auto",
) -> None:
    """Train a network by a recipe."""
    import logging

    from gvtzoo.training.recipe import load_recipe

    loaded = load_recipe(recipe, settings or [])
    logging.getLogger("gvtzoo.training").setLevel(logging.INFO)
    from gvtzoo.training.train import train as run_training

    with progress_bar(loaded.name) as report:
        shown = (
            None
            if report is None
            else lambda step, steps, loss: report(
                step, steps, f"step {step} of {steps}, loss {loss:.4f}"
            )
        )
        run = run_training(
            loaded, data, output, resume=resume, device=device, weights=weights, progress=shown
        )
    typer.echo(str(run))
