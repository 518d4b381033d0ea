"""Training a recipe into a run folder, which tells the whole story and can be continued.

A run folder holds

    recipe.yaml         the resolved recipe
    data.json           the images that were used
    versions.json       of gvtzoo, torch, lightning, Python
    metrics.csv         step, loss, val_loss, learning_rate at every validation
    best.safetensors    weights with the lowest validation loss
    last.ckpt           everything that continuing needs
    example.npz         source and target of a validation image, for the package
    pixel_size.json     of that image

Every file is written under another name and renamed, so that a killed training leaves a whole
one behind.
"""

from __future__ import annotations

import csv
import json
import logging
import platform
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch.utils.data import DataLoader, Dataset

import gvtzoo
from gvtzoo.errors import GvtzooError
from gvtzoo.files import write_atomically
from gvtzoo.images.padding import pad_to_multiple
from gvtzoo.training.data import PatchDataset, TrainingImage, load_images
from gvtzoo.training.module import TrainingModule
from gvtzoo.training.recipe import Recipe, to_yaml

log = logging.getLogger(__name__)

# Lightning's own messages (hardware it did not find, advertisements) say nothing of the training.
for name in ("lightning.pytorch", "lightning.fabric"):
    logging.getLogger(name).setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module=r"lightning\.")

METRICS = ("step", "loss", "val_loss", "learning_rate")
EXAMPLE_SIZE = {2: (256, 256), 3: (32, 128, 128)}


def train(
    recipe: Recipe,
    data: str | Path,
    run: str | Path,
    *,
    resume: bool = False,
    device: str = "auto",
    weights: str | Path | None = None,
    progress: Callable[[int, int, float], None] | None = None,
) -> Path:
    """Train a recipe.

    Parameters
    ----------
    recipe : Recipe
    data : path
        Folder or CSV, as in `gvtzoo.training.data.load_images`.
    run : path
        The run folder; has to be new or empty, or, with `resume`, an interrupted run's.
    resume : bool
        Continue from ``last.ckpt`` with the same recipe. Losses are those of an uninterrupted
        training.
    device : {"auto", "cpu", "cuda", "mps"}
    weights : path, optional
        Weights to start from, as another run's ``best.safetensors``.
    progress : callable, optional
        ``progress(step, steps, loss)`` after every step.

    Returns
    -------
    Path
        The run folder.

    Raises
    ------
    GvtzooError
        When the data cannot be used, the run folder is taken, or the loss is no longer finite.
    """
    run = Path(run)
    checkpoint = run / "last.ckpt"
    if not resume and run.is_dir() and any(run.iterdir()):
        raise GvtzooError(f"{run} is not empty: choose another folder, or continue with --resume")
    if resume and not checkpoint.is_file():
        raise GvtzooError(f"{run} has no last.ckpt to resume from: start without --resume")
    training_images = load_images(data, "train", recipe)
    validation_images = load_images(data, "val", recipe)
    if not training_images:
        raise GvtzooError(f"{data} holds no training images")
    if recipe.training.validation and not validation_images:
        raise GvtzooError(
            f"{data} holds no validation images: put some pairs in a folder val/, beside train/"
        )
    images = PatchLoader(recipe, training_images, validation_images)
    run.mkdir(parents=True, exist_ok=True)
    _describe_run(run, recipe, training_images, validation_images)

    lightning.seed_everything(recipe.training.seed, verbose=False)
    module = TrainingModule(recipe)
    if weights is not None and not resume:
        load_weights(module.network, Path(weights))
    settings = recipe.training
    trainer = lightning.Trainer(
        accelerator={"cuda": "gpu"}.get(device, device),
        devices=1 if device == "cpu" else "auto",
        precision=settings.precision,
        max_epochs=images.epochs,
        gradient_clip_val=settings.gradient_clip,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        plugins=[AtomicCheckpointIO()],
        callbacks=[RunWriter(run, resume), Guard(progress, settings.steps)],
    )
    # Written by an earlier training of this very folder; read without running code from it.
    path = checkpoint if resume else None
    trainer.fit(module, datamodule=images, ckpt_path=path, weights_only=True)
    return run


class PatchLoader(lightning.LightningDataModule):
    """Random patches for training, `validate_every` steps to an epoch; whole images to validate."""

    def __init__(
        self,
        recipe: Recipe,
        training_images: list[TrainingImage],
        validation_images: list[TrainingImage],
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.training_images = training_images
        self.validation_images = validation_images
        settings = recipe.training
        self.epochs = -(-settings.steps // settings.validate_every)
        self._patches(0)  # checks sizes

    def _patches(self, epoch: int) -> PatchDataset:
        settings = self.recipe.training
        first = epoch * settings.validate_every
        last = min(first + settings.validate_every, settings.steps)
        return PatchDataset(
            self.training_images,
            settings.patch,
            self.recipe.augmentation,
            settings.seed,
            first * settings.batch_size,
            last * settings.batch_size,
        )

    def train_dataloader(self) -> DataLoader:
        assert self.trainer is not None
        settings = self.recipe.training
        return DataLoader(
            self._patches(self.trainer.current_epoch),
            batch_size=settings.batch_size,
            num_workers=settings.workers,
        )

    def val_dataloader(self) -> DataLoader:
        seed = self.recipe.training.seed
        return DataLoader(WholeImages(self.validation_images, self.recipe, seed), batch_size=1)


class WholeImages(Dataset[tuple[np.ndarray, np.ndarray]]):
    """Whole validation images, padded to what the network needs; noise is the same every time."""

    def __init__(self, images: list[TrainingImage], recipe: Recipe, seed: int) -> None:
        self.images = images
        self.seed = seed
        self.multiple = recipe.network.multiple

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        image = self.images[index]
        box = tuple(slice(0, size) for size in image.shape[1:])
        source, target = image.patch(box, np.random.default_rng([self.seed, index]))
        padded = [
            pad_to_multiple(array, (1, *self.multiple[-(array.ndim - 1) :]))[0]
            for array in (source, target)
        ]
        return padded[0], padded[1]


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints under another name and renames them."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        with write_atomically(Path(path)) as temporary:
            torch.save(checkpoint, temporary)


class Guard(lightning.Callback):
    """Stops at a loss that is not finite, and reports progress."""

    def __init__(self, progress: Callable[[int, int, float], None] | None, steps: int) -> None:
        self.progress = progress
        self.steps = steps

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: Any, outputs: Any, batch: Any, index: int
    ) -> None:
        loss = float(outputs["loss"])
        if not np.isfinite(loss):
            raise GvtzooError(
                f"the loss became {loss} at step {trainer.global_step}: the last good weights are "
                "kept; continue with --resume and a lower --set training.learning_rate, or with "
                "--set training.gradient_clip=1"
            )
        if self.progress is not None:
            self.progress(trainer.global_step, self.steps, loss)


class RunWriter(lightning.Callback):
    """Writes metrics, the best weights and the last checkpoint after every validation."""

    def __init__(self, run: Path, resume: bool) -> None:
        self.run = run
        self.losses: list[float] = []
        self.rows = _read_metrics(run / "metrics.csv") if resume else []

    def on_train_start(self, trainer: lightning.Trainer, module: Any) -> None:
        # A kill between the two writes leaves a row that the checkpoint does not know.
        epoch_steps = trainer.global_step
        self.rows = [row for row in self.rows if int(row["step"]) <= epoch_steps]

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: Any, outputs: Any, batch: Any, index: int
    ) -> None:
        self.losses.append(float(outputs["loss"]))

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: Any) -> None:
        if not trainer.is_global_zero:
            return
        validation = float(trainer.callback_metrics["val_loss"])
        best = min((float(row["val_loss"]) for row in self.rows), default=float("inf"))
        row = {
            "step": str(trainer.global_step),
            "loss": repr(float(np.mean(self.losses))),
            "val_loss": repr(validation),
            "learning_rate": f"{trainer.optimizers[0].param_groups[0]['lr']:.3g}",
        }
        self.losses = []
        self.rows.append(row)
        if validation < best:
            save_weights(module.network, self.run / "best.safetensors")
        _write_metrics(self.run / "metrics.csv", self.rows)
        trainer.save_checkpoint(self.run / "last.ckpt", weights_only=False)
        log.info(
            "step %s: loss %.4f, validation %.4f%s",
            row["step"],
            float(row["loss"]),
            validation,
            " (best)" if validation < best else "",
        )


def save_weights(network: torch.nn.Module, path: Path) -> None:
    """The network's state dict as safetensors, written atomically."""
    from safetensors.torch import save_file

    state = {name: tensor.contiguous().cpu() for name, tensor in network.state_dict().items()}
    with write_atomically(path) as temporary:
        save_file(state, temporary)


def load_weights(network: torch.nn.Module, path: Path) -> None:
    """Set a network's weights to those of a safetensors file.

    Raises
    ------
    GvtzooError
        When the file cannot be read, or belongs to another network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise GvtzooError(f"there are no weights at {path}")
    try:
        network.load_state_dict(load_file(path))
    except SafetensorError as error:
        raise GvtzooError(f"{path} is damaged, or not a safetensors file: {error}") from error
    except RuntimeError as error:
        problem = " ".join(str(error).split())[:200]
        raise GvtzooError(f"{path} does not fit the recipe's network: {problem}") from error


def _read_metrics(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _write_metrics(path: Path, rows: list[dict[str, str]]) -> None:
    with write_atomically(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, METRICS)
        writer.writeheader()
        writer.writerows(rows)


def _write_json(path: Path, content: Any) -> None:
    with write_atomically(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _describe_run(
    run: Path, recipe: Recipe, training: list[TrainingImage], validation: list[TrainingImage]
) -> None:
    with write_atomically(run / "recipe.yaml") as temporary:
        temporary.write_text(to_yaml(recipe), encoding="utf-8")
    splits = {"train": training, "val": validation}
    _write_json(
        run / "data.json",
        {
            split: [{"name": image.name, "shape": list(image.shape)} for image in images]
            for split, images in splits.items()
        },
    )
    versions = {
        "gvtzoo": gvtzoo.__version__,
        "torch": torch.__version__,
        "lightning": lightning.__version__,
        "python": platform.python_version(),
    }
    _write_json(run / "versions.json", versions)
    _write_json(run / "pixel_size.json", dict(validation[0].calibration))
    _write_example(run, validation[0], recipe)


def _write_example(run: Path, image: TrainingImage, recipe: Recipe) -> None:
    source, target = image.raw(np.random.default_rng(recipe.training.seed))
    sizes = EXAMPLE_SIZE[recipe.network.dimensions]
    box = tuple(slice(0, size) for size in sizes)
    target_box = box[len(box) - (target.ndim - 1) :]
    with write_atomically(run / "example.npz") as temporary:
        np.savez_compressed(
            temporary, source=source[(slice(None), *box)], target=target[(slice(None), *target_box)]
        )
