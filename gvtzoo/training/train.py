"""Training a recipe into a run folder, which tells the whole story and can be continued.

A run folder holds

    recipe.yaml         the resolved recipe
    data.json           the images that were used, and the hashes of their files
    versions.json       of gvtzoo, torch, lightning, Python
    metrics.csv         step, loss, val_loss, learning_rate at every validation
    changes.json        settings that were changed when it was resumed, with the step
    losses.png          the same as a picture
    validation/         a validation image at every validation: source, prediction, target
    best.safetensors    weights with the lowest validation loss
    last.ckpt           everything that continuing needs
    example.npz         source and target of a validation image, for the package
    pixel_size.json     of that image
    fingerprint.json    what the training images are like

Several processes (``torchrun``, SLURM) share the batches: they see the same patches as one would.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import lightning
import numpy as np
from torch.utils.data import DataLoader, Dataset

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.progress import TrainingProgress
from gvtzoo.images.padding import pad_to_multiple
from gvtzoo.images.pair_lists import is_table
from gvtzoo.packages.config import PackageConfig
from gvtzoo.packages.run_folder import (
    FINGERPRINT,
    PARENT,
    RECIPE,
    inherited,
    is_run,
    load_weights,
    read_run_config,
)
from gvtzoo.recipes.recipe import DataConfig, Recipe, with_settings
from gvtzoo.training.callbacks import AtomicCheckpointIO, Guard, Judge, RunWriter
from gvtzoo.training.candidates import with_sigma_factor
from gvtzoo.training.checkpoint import restoring, step_of
from gvtzoo.training.data.checks import check_images
from gvtzoo.training.data.held_out import hold_out
from gvtzoo.training.data.images import NoisyImage, TrainingImage
from gvtzoo.training.data.noisy import read_noisy
from gvtzoo.training.data.pairs import has_own_pairs
from gvtzoo.training.data.patches import PatchDataset, load_images
from gvtzoo.training.data.recording import with_new_noise
from gvtzoo.training.data.rehearsal import with_rehearsal
from gvtzoo.training.fingerprint import fingerprint
from gvtzoo.training.module import TrainingModule
from gvtzoo.training.resume import (
    begun_recipe,
    check_same_images,
    chosen_recipe,
    continue_run,
)
from gvtzoo.training.run_folder import describe_run, is_taken, write_json
from gvtzoo.training.units import settle_units

log = logging.getLogger(__name__)

# Lightning's own messages (hardware it did not find, advertisements) say nothing of the training.
for name in ("lightning.pytorch", "lightning.fabric"):
    logging.getLogger(name).setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module=r"lightning\.")


def train(
    recipe: str | Path | Recipe | None,
    data: str | Path | None,
    run: str | Path,
    *,
    settings: Iterable[str] = (),
    noisy: Sequence[str | Path] = (),
    resume: bool = False,
    device: str = "auto",
    weights: str | Path | None = None,
    cache: str | Path | None = None,
    progress: TrainingProgress | None = None,
) -> Path:
    """Train a network by a recipe, on its data, on yours, or on noisy images without truth.

    Parameters
    ----------
    recipe : str, path or Recipe
        The name of a recipe, as ``gvtzoo recipes`` lists them, or a YAML file. With `resume` it
        may be None: then it is the run's own.
    data : path, optional
        Folder or CSV, as in `gvtzoo.training.data.patches.load_images`.
    noisy : sequence of path
        In place of data, images without truth (`gvtzoo.training.data.noisy`).
    run : path
        The run folder; has to be new or empty, or, with `resume`, an interrupted run's.
    settings : iterable of str
        ``key.sub=value``, changes to a recipe that is named.
    resume : bool
        Continue from ``last.ckpt`` on the same images, with the run's own recipe
        (`gvtzoo.training.resume.resumed_recipe`); a few settings may be changed, which is written
        down. Losses are those of an uninterrupted training.
    device : {"auto", "cpu", "cuda", "mps"}
        One device, or one for each process that ``torchrun`` or SLURM started.
    weights : path, optional
        Weights to start from, as another run's ``best.safetensors``.
    cache : path, optional
        A folder for images that do not fit into memory, as in
        `gvtzoo.training.data.patches.load_images`.
    progress : callable, optional
        ``progress(step, steps, loss)`` after every step.

    Returns
    -------
    Path
        The run folder.

    Raises
    ------
    GvtzooError
        When the recipe or the data cannot be used, the run folder is taken, or the loss is no
        longer finite.

    Examples
    --------
    >>> import gvtzoo
    >>> gvtzoo.train(
    ...     "denoising/nuclei", "clean/", "run/", settings=["training.steps=1000"]
    ... )  # doctest: +SKIP
    PosixPath('run')
    """
    chosen = chosen_recipe(recipe, run, settings, resume=resume)
    suited, training_images, validation_images = _images(chosen, data, noisy, cache)
    if noisy:
        begun = begun_recipe(Path(run), resume=resume)
        suited = _with_first_sigma(suited, training_images, weights, begun)
    return train_on(
        suited,
        training_images,
        validation_images,
        run,
        resume=resume,
        device=device,
        weights=weights,
        progress=progress,
    )


def _images(
    recipe: Recipe,
    data: str | Path | None,
    noisy: Sequence[str | Path],
    cache: str | Path | None,
) -> tuple[Recipe, Sequence[TrainingImage], Sequence[TrainingImage]]:
    """The recipe as it suits the images, images to train on, and images to validate on."""
    if noisy:
        recipe, images = read_noisy(noisy, recipe)
        return recipe, images.training, images.held_out if recipe.training.validation else []
    if data is None:
        raise GvtzooError("there is nothing to learn from: name a data folder, or noisy images")
    settings = recipe.training
    training_images: Sequence[TrainingImage] = load_images(data, "train", recipe, cache)
    validation_images: Sequence[TrainingImage] = (
        load_images(data, "val", recipe, cache) if settings.validation else []
    )
    if not training_images:
        raise GvtzooError(f"{data} holds no training images")
    if settings.validation and not validation_images and _is_flat(data, recipe.data):
        training_images, validation_images, what = hold_out(
            training_images, recipe.network.multiple
        )
        log.info("%s holds no val/: %s", data, what)
    if settings.validation and not validation_images:
        raise GvtzooError(
            f"{data} holds no validation images: put some pairs in a folder val/, beside train/, "
            "or train without with --set training.validation=false"
        )
    if Processes.of_environment().rank == 0:
        check_images(training_images)
    recipe, training, validation = settle_units(recipe, training_images, validation_images)
    recipe, training = with_new_noise(recipe, training)
    return recipe, with_rehearsal(recipe, training), validation


def _with_first_sigma(
    recipe: Recipe,
    images: Sequence[TrainingImage],
    weights: str | Path | None,
    begun: Recipe | None,
) -> Recipe:
    """The recipe with σ of the size of the errors that the training begins with, or has begun with.

    Else the first steps are about σ alone, and leave features from which the image is learned
    late or never.
    """
    if begun is not None:
        return with_settings(recipe, training={"sigma_factor": begun.training.sigma_factor})
    lightning.seed_everything(recipe.training.seed, verbose=False)
    network = recipe.network.build()
    if weights is not None:
        load_weights(network, Path(weights))
    return with_sigma_factor(recipe, network, images)


def _is_flat(data: str | Path, config: DataConfig) -> bool:
    """Whether these are somebody's own pairs that nobody has divided."""
    if config.noise is not None or config.regions is not None:
        return False
    path = Path(data)
    return has_own_pairs(path, config) and (is_table(path) or (path / "source").is_dir())


def train_on(
    recipe: Recipe,
    training_images: Sequence[TrainingImage],
    validation_images: Sequence[TrainingImage],
    run: str | Path,
    *,
    resume: bool = False,
    device: str = "auto",
    weights: str | Path | None = None,
    progress: TrainingProgress | None = None,
    parent: PackageConfig | None = None,
    judge: Judge | None = None,
) -> Path:
    """Train a recipe on given images; everything else as in `train`.

    Parameters
    ----------
    recipe : Recipe
    training_images, validation_images : sequence of TrainingImage
    run : path
    resume : bool
    device : str
    weights : path, optional
    progress : callable, optional
        As of `train`.
    parent : PackageConfig, optional
        The model that `weights` are of, so that the run knows what that has learned from; weights
        of a run folder are known to be its.
    judge : Judge, optional
        Its score of the network, lower is better, takes the place of the loss of the validation
        images, and the weights that the training starts from are the first candidate.

    Raises
    ------
    GvtzooError
        When the run folder is not empty, cannot be continued, or is of another recipe or of other
        images; when an image is smaller than a patch, or the loss is not finite.
    """
    run = Path(run)
    checkpoint = run / "last.ckpt"
    processes = Processes.of_environment()
    is_first = processes.rank == 0
    if is_first and not resume and is_taken(run):
        raise GvtzooError(f"{run} is not empty: choose another folder, or continue with --resume")
    if resume and not checkpoint.is_file() and not (run / RECIPE).is_file():
        raise GvtzooError(f"{run} has no last.ckpt to resume from: start without --resume")
    if resume and is_first:
        continue_run(run, recipe, step_of(checkpoint))
        check_same_images(run, training_images, validation_images)
    # Interrupted before its first checkpoint: from the beginning.
    resume = resume and checkpoint.is_file()
    settings = recipe.training
    images = PatchLoader(recipe, training_images, validation_images, processes)
    if is_first:
        run.mkdir(parents=True, exist_ok=True)
    if is_first and not resume:
        describe_run(run, recipe, training_images, validation_images)
        seen = fingerprint(recipe, training_images)
        if seen is not None:
            write_json(run / FINGERPRINT, seen.model_dump(mode="json"))
        parent = parent or _run_of(weights)
        if parent is not None:
            write_json(run / PARENT, inherited(parent))

    lightning.seed_everything(settings.seed, verbose=False)
    simulates = recipe.data.simulation is not None
    module = TrainingModule(recipe, clean_stacks(training_images) if simulates else ())
    if weights is not None and not resume:
        load_weights(module.network, Path(weights))
        module.start_average()
    guard = Guard(progress, settings.steps)
    trainer = lightning.Trainer(
        accelerator={"cuda": "gpu"}.get(device, device),
        devices=processes.devices(device),
        num_nodes=processes.nodes,
        strategy="ddp" if processes.count > 1 else "auto",
        precision=settings.precision,
        benchmark=simulates,  # all patches have one size
        max_epochs=images.epochs,
        gradient_clip_val=settings.gradient_clip,
        reload_dataloaders_every_n_epochs=1,
        limit_val_batches=None if settings.validation and judge is None else 0,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        plugins=[AtomicCheckpointIO()],
        callbacks=[
            guard,
            RunWriter(
                run,
                resume,
                settings,
                settings.tensorboard and is_first,
                judge,
                training_images[0].calibration,
            ),
        ],
    )
    # Written by an earlier training of this very folder; read without running code from it.
    path = checkpoint if resume else None
    with _interrupts(trainer), restoring(path, lambda: guard.has_begun):
        trainer.fit(module, datamodule=images, ckpt_path=path, weights_only=True)
    return run


def _run_of(weights: str | Path | None) -> PackageConfig | None:
    """What the run says of itself that weights lie in."""
    folder = None if weights is None else Path(weights).parent
    return read_run_config(folder) if folder is not None and is_run(folder) else None


@contextmanager
def _interrupts(trainer: lightning.Trainer) -> Iterator[None]:
    """Ctrl-C as KeyboardInterrupt: Lightning would leave the program, and ignore further ones."""
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if is_main else None
    try:
        yield
    except SystemExit as error:
        if trainer.interrupted:
            raise KeyboardInterrupt from error
        raise
    finally:
        if handler is not None:
            signal.signal(signal.SIGINT, handler)


def clean_stacks(images: Sequence[TrainingImage]) -> list[np.ndarray]:
    """What patches are simulated of: each clean image once, whatever its noise levels."""
    found = {id(i.intensity): i.intensity[0] for i in images if isinstance(i, NoisyImage)}
    return list(found.values())


@dataclass(frozen=True)
class Processes:
    """The processes that train together, as ``torchrun`` or SLURM started them."""

    count: int = 1
    rank: int = 0
    local: int = 1

    @classmethod
    def of_environment(cls) -> Processes:
        """From the variables that ``torchrun`` or SLURM set."""
        if "LOCAL_WORLD_SIZE" in os.environ:
            names = ("WORLD_SIZE", "RANK", "LOCAL_WORLD_SIZE")
        elif int(os.environ.get("SLURM_NTASKS", 1)) > 1 and "SLURM_NTASKS_PER_NODE" in os.environ:
            names = ("SLURM_NTASKS", "SLURM_PROCID", "SLURM_NTASKS_PER_NODE")
        else:
            return cls()
        return cls(*(int(os.environ[name]) for name in names))

    @property
    def nodes(self) -> int:
        """Machines."""
        return self.count // self.local

    def devices(self, device: str) -> int | str:
        """What Lightning is told: one device a process."""
        return self.local if self.count > 1 or device != "auto" else 1


class PatchLoader(lightning.LightningDataModule):
    """Random patches for training, `validate_every` steps to an epoch; whole images to validate."""

    def __init__(
        self,
        recipe: Recipe,
        training_images: Sequence[TrainingImage],
        validation_images: Sequence[TrainingImage],
        processes: Processes,
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.processes = processes
        self.training_images = training_images
        self.validation_images = validation_images
        settings = recipe.training
        self.epochs = -(-settings.steps // settings.validate_every)
        if settings.batch_size % processes.count:
            raise GvtzooError(
                f"training.batch_size {settings.batch_size} cannot be shared by "
                f"{processes.count} processes: choose a multiple"
            )
        if recipe.data.simulation is None:
            self._patches(0)  # checks sizes

    def _steps(self, epoch: int) -> tuple[int, int]:
        """The first step of an epoch, and the first of the next."""
        settings = self.recipe.training
        first = epoch * settings.validate_every
        return first, min(first + settings.validate_every, settings.steps)

    def _patches(self, epoch: int) -> PatchDataset:
        settings = self.recipe.training
        first, last = self._steps(epoch)
        return PatchDataset(
            self.training_images,
            self.recipe,
            first * settings.batch_size + self.processes.rank,
            last * settings.batch_size,
            self.processes.count,
        )

    def train_dataloader(self) -> DataLoader:
        """Batches of this epoch: source and target, or numbers of patches to be simulated."""
        assert self.trainer is not None
        settings = self.recipe.training
        if self.recipe.data.simulation is not None:
            first, last = self._steps(self.trainer.current_epoch)
            count, rank = self.processes.count, self.processes.rank
            return DataLoader(range(first * count + rank, last * count, count), batch_size=None)  # type: ignore[arg-type]
        return DataLoader(
            self._patches(self.trainer.current_epoch),
            batch_size=settings.batch_size // self.processes.count,
            num_workers=settings.workers,
        )

    def val_dataloader(self) -> DataLoader:
        """The validation images, whole and padded, one by one."""
        seed = self.recipe.training.seed
        multiple = self.recipe.network.multiple
        return DataLoader(WholeImages(self.validation_images, multiple, seed), batch_size=1)


class WholeImages(Dataset[tuple[np.ndarray, np.ndarray]]):
    """Whole validation images, padded to what the network needs; noise is the same every time."""

    def __init__(self, images: Sequence[TrainingImage], multiple: Sequence[int], seed: int) -> None:
        self.images = images
        self.seed = seed
        self.multiple = multiple

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
