"""``gvtzoo train``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gvtzoo.cli.options import Device, ModelName, progress_bar

NoisyImages = Annotated[
    list[Path] | None,
    typer.Option(
        "--noisy",
        metavar="IMAGE",
        help="In place of --data, a noisy image without truth: a time series, or a single one. "
        "Give it several times for several images.",
    ),
]
MaybeData = Annotated[
    Path | None, typer.Option("--data", help="Folder with source/ and target/, or a CSV.")
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY.SUB=VALUE", help="Change a setting.")
]


class Freeze(StrEnum):
    """Values of ``--freeze``, as `gvtzoo.recipes.recipe.TrainingConfig` has them."""

    NONE = "none"
    ENCODER = "encoder"
    ALL_BUT_LAST = "all-but-last"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("recipes")(recipes)
    app.command("train")(train)
    app.command("finetune")(finetune)


def recipes(
    recipe: Annotated[
        str | None, typer.Argument(metavar="[RECIPE]", help="A recipe's name or a YAML file.")
    ] = None,
    settings: Settings = None,
) -> None:
    """List the recipes, or show one with everything that it extends."""
    from gvtzoo.recipes.files import recipe_names
    from gvtzoo.recipes.recipe import load_recipe, to_yaml

    if recipe is not None:
        typer.echo(to_yaml(load_recipe(recipe, settings or [])), nl=False)
        return
    for name in recipe_names():
        typer.echo(f"{name:32} {load_recipe(name).description}")


def train(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A recipe's name or a YAML file.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The run folder.")],
    data: MaybeData = None,
    noisy: NoisyImages = None,
    settings: Settings = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue where it stopped.")] = False,
    weights: Annotated[
        Path | None, typer.Option(help="Weights to start from: a run's best.safetensors.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="A folder to keep images in that do not fit into memory.")
    ] = None,
    device: Device = "auto",
) -> None:
    """Train a network by a recipe, on its data, on yours, or on noisy images without truth."""
    _one_of(data, noisy)
    from gvtzoo.recipes.recipe import load_recipe

    loaded = load_recipe(recipe, settings or [])
    from gvtzoo.training.train import train as run_training

    with _progress(loaded.name) as shown:
        run = run_training(
            loaded,
            data,
            output,
            noisy=noisy or (),
            resume=resume,
            device=device,
            weights=weights,
            cache=cache,
            progress=shown,
        )
    typer.echo(str(run))


def finetune(
    model: ModelName,
    output: Annotated[Path, typer.Option("--output", "-o", help="The run folder.")],
    data: MaybeData = None,
    noisy: NoisyImages = None,
    freeze: Annotated[Freeze, typer.Option(help="What keeps the model's weights.")] = Freeze.NONE,
    settings: Settings = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue where it stopped.")] = False,
    device: Device = "auto",
) -> None:
    """Train a model further on a few image pairs of your own, or on noisy images without truth."""
    _one_of(data, noisy)
    from gvtzoo.training.finetune import finetune as run_finetuning

    chosen = [f"training.freeze={freeze.value}", *(settings or [])]
    with _progress(f"fine-tuning {model}") as shown:
        result = run_finetuning(
            model,
            data,
            output,
            noisy=noisy or (),
            settings=chosen,
            resume=resume,
            device=device,
            progress=shown,
        )
    for name, metrics in (("before", result.before), ("after", result.after)):
        numbers = "  ".join(f"{key} {value:.4f}" for key, value in metrics.items())
        typer.echo(f"{name:7} {numbers}")
    typer.echo(f"on {result.validation}; picture: {result.picture}")
    if not result.helped:
        typer.echo(
            f"Fine-tuning did not help: {result.run} holds the original's weights. More pairs may, "
            "or --freeze encoder.",
            err=True,
        )
    typer.echo(str(result.run))


def _one_of(data: Path | None, noisy: list[Path] | None) -> None:
    if (data is None) == (not noisy):
        raise typer.BadParameter("name either pairs with --data, or noisy images with --noisy")


@contextmanager
def _progress(title: str) -> Iterator[Callable[[int, int, float], None] | None]:
    """Step and loss on a terminal; messages of the training at every validation."""
    import logging

    logging.getLogger("gvtzoo.training").setLevel(logging.INFO)
    with progress_bar(title) as report:
        if report is None:
            yield None
            return
        yield lambda step, steps, loss: report(
            step, steps, f"step {step} of {steps}, loss {loss:.4f}"
        )
