"""The commands ``gvtzoo train``, ``finetune`` and ``recipes``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gvtzoo.cli.completion import complete_recipe
from gvtzoo.cli.interrupt import interruptible
from gvtzoo.cli.options import (
    Device,
    ModelName,
    SourceChannel,
    TargetChannel,
    next_step,
    progress_bar,
)
from gvtzoo.core.progress import TrainingProgress

if TYPE_CHECKING:
    pass

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
        str | None,
        typer.Argument(
            metavar="[RECIPE]",
            autocompletion=complete_recipe,
            help="A recipe's name or a YAML file.",
        ),
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
    next_step("gvtzoo train RECIPE --data DIR -o RUN")


def train(
    output: Annotated[Path, typer.Option("--output", "-o", help="The run folder.")],
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE",
            autocompletion=complete_recipe,
            help="A recipe's name or a YAML file; with --resume it may be left out.",
        ),
    ] = None,
    data: MaybeData = None,
    noisy: NoisyImages = None,
    settings: Settings = None,
    channel: SourceChannel = None,
    target_channel: TargetChannel = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue where it stopped, with the run's own recipe.")
    ] = False,
    weights: Annotated[
        Path | None, typer.Option(help="Weights to start from: a run's best.safetensors.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="A folder to keep images in that do not fit into memory.")
    ] = None,
    device: Device = "auto",
) -> None:
    """Train a network by a recipe, on its data, on yours, or on noisy images without truth.

    What --set changes when a training is resumed is written into the run's changes.json.
    """
    chosen = [*(settings or []), *_channels(channel, target_channel)]
    if recipe is None and not resume:
        raise typer.BadParameter("name a RECIPE: `gvtzoo recipes` lists them")
    from gvtzoo.training.resume import chosen_recipe

    loaded = chosen_recipe(recipe, output, chosen, resume=resume)
    with interruptible(lambda: _kept(output)), _progress(loaded.name) as shown:
        from gvtzoo.training.train import train as run_training

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
    next_step(
        f"gvtzoo evaluate {run} --input --data PAIRS -o REPORT; gvtzoo package {run} -o MODEL.zip"
    )


def _kept(run: Path) -> str:
    """What an interrupted training leaves, and how it goes on."""
    if (run / "last.ckpt").is_file():
        return f"{run} holds all up to the last validation: the same command with --resume goes on"
    if (run / "recipe.yaml").is_file():
        return f"{run} had no validation yet: the same command with --resume begins again"
    return "nothing was written yet: the same command begins again"


def _channels(channel: str | None, target_channel: str | None) -> list[str]:
    """The channels as settings of a recipe."""
    import json

    chosen = {"data.channel": channel, "data.target_channel": target_channel}
    return [
        f"{key}={value if value.isdigit() else json.dumps(value)}"
        for key, value in chosen.items()
        if value is not None
    ]


def finetune(
    model: ModelName,
    output: Annotated[Path, typer.Option("--output", "-o", help="The run folder.")],
    data: MaybeData = None,
    noisy: NoisyImages = None,
    freeze: Annotated[Freeze, typer.Option(help="What keeps the model's weights.")] = Freeze.NONE,
    settings: Settings = None,
    channel: SourceChannel = None,
    target_channel: TargetChannel = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue where it stopped.")] = False,
    device: Device = "auto",
) -> None:
    """Train a model further on a few image pairs of your own, or on noisy images without truth."""
    _one_of(data, noisy)
    from gvtzoo.training.finetune import finetune as run_finetuning

    chosen = [
        f"training.freeze={freeze.value}",
        *(settings or []),
        *_channels(channel, target_channel),
    ]
    with interruptible(lambda: _kept(output)), _progress(f"fine-tuning {model}") as shown:
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
    if result.helped:
        next_step(f"open {result.picture}; gvtzoo package {result.run} -o MODEL.zip")


def _one_of(data: Path | None, noisy: list[Path] | None) -> None:
    if (data is None) == (not noisy):
        raise typer.BadParameter("name either pairs with --data, or noisy images with --noisy")


@contextmanager
def _progress(title: str) -> Iterator[TrainingProgress | None]:
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
