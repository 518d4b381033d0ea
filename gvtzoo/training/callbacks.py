"""What happens around the steps of a training: the run folder is written, trouble ends it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.files import write_atomically
from gvtzoo.core.progress import TrainingProgress
from gvtzoo.recipes.recipe import TrainingConfig
from gvtzoo.training.pictures import SCORE, draw_losses, draw_prediction, loss_label
from gvtzoo.training.run_folder import read_metrics, save_weights, write_metrics

log = logging.getLogger("gvtzoo.training.train")

Judge = Callable[[Any], float]  # how good a network is, lower is better
READ_EVERY = 10  # steps
PICTURE_EVERY = 20.0  # seconds: drawing one takes as long as two steps of a small network


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints under another name and renames them."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write a checkpoint, whole or not at all.

        Parameters
        ----------
        checkpoint : dict
        path : path
        storage_options
            Lightning's; not used.
        """
        with write_atomically(Path(path)) as temporary:
            torch.save(checkpoint, temporary)


class Guard(lightning.Callback):
    """Stops at a loss that is not finite, or when time is over, and reports progress.

    To read a loss from a GPU means to wait for it, so there it is done every tenth step only.
    """

    def __init__(self, progress: TrainingProgress | None, steps: int) -> None:
        self.progress = progress
        self.steps = steps
        self.has_begun = False

    def on_train_start(self, trainer: lightning.Trainer, module: Any) -> None:
        """Lightning's hook: what fails from here on is not the checkpoint's fault."""
        self.has_begun = True

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: Any, outputs: Any, batch: Any, index: int
    ) -> None:
        """Lightning's hook: look at the loss and the clock, and report.

        Parameters
        ----------
        trainer, module, outputs, batch, index
            As Lightning gives them; ``outputs["loss"]`` is the batch's loss.

        Raises
        ------
        GvtzooError
            When the loss is not finite.
        """
        if module.clock.share() >= 1:
            trainer.should_stop = True
        if module.device.type != "cpu" and trainer.global_step % READ_EVERY:
            return
        self._check(trainer, float(outputs["loss"]))

    def _check(self, trainer: lightning.Trainer, loss: float) -> None:
        if not np.isfinite(loss):
            raise GvtzooError(
                f"the loss became {loss} at step {trainer.global_step}: the last good weights are "
                "kept; continue with --resume and a lower --set training.learning_rate, or with "
                "--set training.gradient_clip=1"
            )
        if self.progress is not None and trainer.is_global_zero:
            self.progress(trainer.global_step, self.steps, loss)


def finite_or_infinite(loss: float) -> float:
    """A loss that can be compared: what is no number is worse than any."""
    return loss if np.isfinite(loss) else float("inf")


class RunWriter(lightning.Callback):
    """Writes metrics, the best weights, pictures and the last checkpoint after every validation.

    Without validation images, the last weights are the best ones. With `early_stopping`, ends the
    training after as many validations without improvement. A `judge` of the network takes the
    place of the validation loss, and judges what the training starts from, too. The `calibration`
    of the images (``pixel_size``, ``unit``) gives pictures their scale bar.
    """

    def __init__(
        self,
        run: Path,
        resume: bool,
        settings: TrainingConfig,
        tensorboard: bool = False,
        judge: Judge | None = None,
        calibration: Mapping[str, Any] | None = None,
    ) -> None:
        self.run = run
        self.calibration = calibration or {}
        self.settings = settings
        self.losses: list[torch.Tensor] = []
        self.rows = read_metrics(run / "metrics.csv") if resume else []
        self.patience = settings.early_stopping
        self.tensorboard = open_tensorboard(run) if tensorboard else None
        self.shown: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
        self.judge = judge
        self.next_picture = time.monotonic() + PICTURE_EVERY

    def on_train_start(self, trainer: lightning.Trainer, module: Any) -> None:
        """Lightning's hook: forget rows behind the checkpoint, judge what it starts from."""
        # A kill between the two writes leaves a row that the checkpoint does not know.
        known = trainer.global_step
        self.rows = [row for row in self.rows if int(row["step"]) <= known]
        if self.judge is not None and not self.rows:
            start = {"loss": "", "val_loss": repr(self.judge(module.kept)), "learning_rate": ""}
            self.rows.append({"step": "0", **start})
            if trainer.is_global_zero:
                save_weights(module.kept, self.run / "best.safetensors")
        if self._is_over():
            trainer.should_stop = True

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: Any, outputs: Any, batch: Any, index: int
    ) -> None:
        """Lightning's hook: keep the loss for the mean of the epoch.

        Parameters
        ----------
        trainer, module, outputs, batch, index
            As Lightning gives them; ``outputs["loss"]`` is the batch's loss.
        """
        self.losses.append(outputs["loss"].detach())

    def on_validation_batch_end(
        self,
        trainer: lightning.Trainer,
        module: Any,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Lightning's hook: keep the first validation image, to be drawn.

        Parameters
        ----------
        trainer, module, outputs, batch, batch_idx, dataloader_idx
            As Lightning gives them; `batch` is source and target, `outputs` the prediction.
        """
        if batch_idx == 0 and outputs is not None:
            self.shown = tuple(
                image[0].float().cpu().numpy() for image in (batch[0], outputs, batch[1])
            )

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: Any) -> None:
        """Lightning's hook: write metrics, weights, pictures and the checkpoint; maybe the end."""
        mean = trainer.strategy.reduce(torch.stack(self.losses).float().mean(), reduce_op="mean")
        self.losses = []
        validation = self._validation(trainer, module)
        row = {
            "step": str(trainer.global_step),
            "loss": repr(float(mean)),
            "val_loss": "" if validation is None else repr(validation),
            "learning_rate": f"{trainer.optimizers[0].param_groups[0]['lr']:.3g}",
        }
        is_best = validation is None or self.settings.keep == "last" or self._is_better(validation)
        if validation is not None and not np.isfinite(validation):
            log.warning(
                "step %s: the validation loss is %s: look at the validation images, and take a "
                "lower training.learning_rate where it stays so",
                trainer.global_step,
                validation,
            )
        self.rows.append(row)
        if trainer.is_global_zero:
            self._write(row, module, is_best)
        # Every process takes part in this.
        trainer.save_checkpoint(self.run / "last.ckpt", weights_only=False)
        if self._is_over():
            log.info("no improvement in %s validations: the training ends", self.patience)
            trainer.should_stop = True

    def _validation(self, trainer: lightning.Trainer, module: Any) -> float | None:
        if self.judge is not None:
            return self.judge(module.kept)
        loss = trainer.callback_metrics.get("val_loss")
        return None if loss is None else float(loss)

    def _is_better(self, validation: float) -> bool:
        # The first weights are the best so far, even where their loss is not a number.
        return not self.rows or finite_or_infinite(validation) < min(self._validations())

    def _validations(self) -> list[float]:
        return [finite_or_infinite(float(row["val_loss"])) for row in self.rows]

    def _is_over(self) -> bool:
        """Whether the best of all validations lies as far back as is put up with."""
        if self.patience is None or len(self.rows) <= self.patience:
            return False
        losses = self._validations()
        return len(losses) - 1 - int(np.argmin(losses)) >= self.patience

    def _write(self, row: dict[str, str], module: Any, is_best: bool) -> None:
        if is_best:
            save_weights(module.kept, self.run / "best.safetensors", self.settings.mantissa_bits)
        write_metrics(self.run / "metrics.csv", self.rows)
        if time.monotonic() > self.next_picture:
            self._draw_losses()
        if self.shown is not None:
            draw_prediction(
                self.run / "validation" / f"{int(row['step']):07}.png",
                *self.shown,
                calibration=self.calibration,
                truth=module.recipe.data.without_truth is None,
            )
        if self.tensorboard is not None:
            for name in ("loss", "val_loss", "learning_rate"):
                if row[name]:
                    self.tensorboard.add_scalar(name, float(row[name]), int(row["step"]))
            self.tensorboard.flush()
        log.info(
            "step %s: loss %.4f%s%s",
            row["step"],
            float(row["loss"]),
            f", validation {float(row['val_loss']):.4f}" if row["val_loss"] else "",
            " (best)" if is_best and row["val_loss"] else "",
        )

    def _draw_losses(self) -> None:
        training = loss_label(self.settings.loss, self.settings.sigma_weight)
        validation = loss_label(self.settings.loss) if self.judge is None else SCORE
        draw_losses(self.run / "losses.png", self.rows, training, validation)
        self.next_picture = time.monotonic() + PICTURE_EVERY

    def on_train_end(self, trainer: lightning.Trainer, module: Any) -> None:
        """Lightning's hook: the picture of all losses."""
        if trainer.is_global_zero and self.rows:
            self._draw_losses()

    def on_exception(
        self, trainer: lightning.Trainer, module: Any, exception: BaseException
    ) -> None:
        """Lightning's hook: the same where it was interrupted.

        Parameters
        ----------
        trainer, module, exception
            As Lightning gives them.
        """
        self.on_train_end(trainer, module)


def open_tensorboard(run: Path) -> Any:
    """A writer into the run folder's ``tensorboard/``.

    Raises
    ------
    GvtzooError
        When TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise GvtzooError(
            "TensorBoard is not installed: pip install 'gvtzoo[tensorboard]', or leave out "
            "training.tensorboard"
        ) from error
    return SummaryWriter(run / "tensorboard")
