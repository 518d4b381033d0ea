"""The Lightning module: a network, its loss, its optimizer, and validation on whole images."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor, nn

from gvtzoo.prediction.cpu_kernels import with_channels_last
from gvtzoo.recipes.recipe import Recipe, ScheduleConfig
from gvtzoo.training.adversarial import PatchDiscriminator, adversarial_loss
from gvtzoo.training.data.simulation import PatchSimulator
from gvtzoo.training.losses import WITH_SIGMA, WITHOUT_SIGMA

LEAST_ERROR = 1e-3  # of a source, in normalized units


class TrainingModule(lightning.LightningModule):
    """Trains the network of a recipe.

    Batches are pairs of source and target, (batch, channel, …), or, where the recipe simulates
    patches, their numbers; validation takes whole images, padded to what the network needs.

    Parameters
    ----------
    recipe : Recipe
    intensities : sequence of ndarray
        Clean stacks to simulate patches of.
    """

    def __init__(self, recipe: Recipe, intensities: Sequence[np.ndarray] = ()) -> None:
        super().__init__()
        self.recipe = recipe
        self.intensities = intensities
        self.simulator: PatchSimulator | None = None
        self.clock = Clock(recipe.training.minutes)
        self.network = recipe.network.build()
        adversarial = recipe.training.adversarial
        self.discriminator = (
            PatchDiscriminator(
                recipe.network.output_dimensions,
                recipe.network.output_channels,
                adversarial.features,
            )
            if adversarial is not None
            else None
        )
        self.average = self._averaged()
        self.frozen = freeze(self.network, recipe.training.freeze)
        if recipe.training.loss not in WITH_SIGMA:
            # Processes that train together wait for the gradient of everything that has one.
            for name, parameter in self.network.named_parameters():
                if "sigma_convolution" in name.split("."):
                    parameter.requires_grad_(False)
        self.train()

    def _averaged(self) -> Any:
        """A copy of the network that follows it slowly, where the recipe wants one."""
        if self.recipe.training.ema is None:
            return None
        return copy.deepcopy(self.network).requires_grad_(False)

    @property
    def kept(self) -> Any:
        """The network that is validated and kept: the average, where there is one."""
        return self.network if self.average is None else self.average

    def start_average(self) -> None:
        """Begin the average at the network's weights, which were just set."""
        if self.average is not None:
            self.average.load_state_dict(self.network.state_dict())

    def setup(self, stage: str) -> None:
        """Lightning's hook: weights with the channels last, which steps take less time with.

        On a CPU 0.8 to 0.92 of it in 2D, and 0.6 in 3D; on a GPU it was not measured for 2D.

        Parameters
        ----------
        stage
            As Lightning gives it; not used.
        """
        on_cpu = self.trainer.strategy.root_device.type == "cpu"
        if on_cpu or self.recipe.network.dimensions == 3:
            with_channels_last(self.network)
            with_channels_last(self.kept)

    def on_fit_start(self) -> None:
        """Lightning's hook: make the simulator of patches, once the device is known."""
        if self.recipe.data.simulation is not None:
            size = self.recipe.training.batch_size // self.trainer.world_size
            self.simulator = PatchSimulator(self.intensities, self.recipe, self.device, size)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Lightning's hook: the checkpoint remembers how long the training took."""
        checkpoint["seconds"] = self.clock.seconds()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Lightning's hook: the time before counts, too."""
        self.clock.before = checkpoint.get("seconds", 0.0)

    def on_train_batch_end(self, outputs: Any, batch: Any, index: int) -> None:
        """Lightning's hook: move the averaged weights towards the current ones.

        Parameters
        ----------
        outputs, batch, index
            As Lightning gives them; not used.
        """
        if self.average is None or self.recipe.training.ema is None:
            return
        # Early weights are soon forgotten.
        decay = min(self.recipe.training.ema, (1 + self.global_step) / (10 + self.global_step))
        with torch.no_grad():
            for name in ("parameters", "buffers"):
                pairs = zip(
                    getattr(self.average, name)(), getattr(self.network, name)(), strict=True
                )
                for mean, current in pairs:
                    if mean.is_floating_point():
                        mean.lerp_(current, 1 - decay)
                    else:
                        mean.copy_(current)

    def train(self, mode: bool = True) -> TrainingModule:
        """Training mode, in which frozen parts keep their batch norm's statistics."""
        super().train(mode)
        for part in self.frozen:
            part.eval()
        return self

    def forward(self, source: Tensor) -> tuple[Tensor, ...]:
        """The prediction, and σ where the loss needs it."""
        return self._run(self.network, source)

    def _run(self, network: Any, source: Tensor) -> tuple[Tensor, ...]:
        if self.recipe.training.loss in WITH_SIGMA:
            return network.forward_with_sigma(source)
        return (network(source),)

    def loss(
        self,
        outputs: tuple[Tensor, ...],
        target: Tensor,
        weight: float = 0.0,
        importance: Tensor | None = None,
    ) -> Tensor:
        """The recipe's loss of a batch, a scalar; arguments as in `gvtzoo.training.losses`.

        Of blind spots, only voxels of which the target is known count.

        Parameters
        ----------
        outputs : tuple of Tensor
            Prediction, and σ for losses with it, each (batch, channel, …).
        target : Tensor
            (batch, channel, …); NaN where there is no blind spot.
        weight : float
        importance : Tensor, optional
            As in `gvtzoo.training.losses`.
        """
        name = self.recipe.training.loss
        if self.recipe.data.without_truth == "blind_spots":
            known = torch.isfinite(target)
            if importance is not None:
                importance = importance.expand_as(target)[known]
            outputs, target = tuple(output[known] for output in outputs), target[known]
        if name in WITH_SIGMA:
            prediction, sigma = outputs
            sigma = sigma.float() * self.recipe.training.sigma_factor
            return WITH_SIGMA[name](prediction.float(), sigma, target, weight, importance)
        return WITHOUT_SIGMA[name](outputs[0].float(), target, importance)

    def training_step(self, batch: Any, index: int) -> Tensor:
        """The loss of a batch, a scalar, with the discriminator's where there is one."""
        training = self.recipe.training
        source, target = batch if self.simulator is None else self.simulator.batch(int(batch))
        outputs = self(source)
        importance = balance(source, target) if training.balance else None
        loss = self.loss(outputs, target, training.sigma_weight, importance)
        if self.discriminator is not None and training.adversarial is not None:
            weight = training.adversarial.weight
            loss = loss + adversarial_loss(self.discriminator, outputs[0].float(), target, weight)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """Logs the loss; the prediction, for the run folder's pictures."""
        source, target = batch
        outputs = self._run(self.kept, source)
        # Unweighted: a weighted likelihood does not fall when σ and the error do.
        loss = self.loss(outputs, target)
        self.log("val_loss", loss, on_epoch=True, batch_size=1, sync_dist=True)
        return outputs[0]

    def on_train_start(self) -> None:
        """Take the recipe's learning rates: a checkpoint brings those that it was written with."""
        self.clock.start()
        optimizer: Any = self.optimizers()
        scheduler: Any = self.lr_schedulers()
        rates = self._rates()
        if list(scheduler.base_lrs) == rates:
            return
        scheduler.base_lrs = rates
        factor = scheduler.lr_lambdas[0](scheduler.last_epoch)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["initial_lr"], group["lr"] = rate, rate * factor

    def _rates(self) -> list[float]:
        """Learning rates of the network and, where there is one, of the discriminator."""
        training = self.recipe.training
        adversarial = [training.adversarial.learning_rate] if training.adversarial else []
        return [training.learning_rate, *adversarial]

    def configure_optimizers(self) -> Any:
        """Adam over what is trained, with the recipe's schedule of the learning rate."""
        training = self.recipe.training
        trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        groups: list[dict[str, Any]] = [{"params": trained, "lr": training.learning_rate}]
        if self.discriminator is not None and training.adversarial is not None:
            parameters = list(self.discriminator.parameters())
            groups.append({"params": parameters, "lr": training.adversarial.learning_rate})
        optimizer = torch.optim.Adam(groups, betas=training.betas)
        factor = schedule_factor(training.schedule, training.steps, self.clock.share)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]


def freeze(network: Any, what: str) -> list[nn.Module]:
    """Keep the weights of a part of a network; its modules.

    Parameters
    ----------
    network : GVTNet or ProjectionGVTNet
    what : {"none", "encoder", "all-but-last"}
        Of a projection, the 3D half counts as a part of the encoder.
    """
    if what == "none":
        return []
    projection = [network.projection] if hasattr(network, "projection") else []
    unet = getattr(network, "network", network)
    frozen: list[nn.Module] = [*projection, unet.first_convolution, unet.encoder]
    if what == "all-but-last":
        frozen += [unet.bottom, *list(unet.decoder)[:-1]]
    for part in frozen:
        part.requires_grad_(False)
    return frozen


class Clock:
    """The time that a training has taken, and what share that is of what it may take."""

    def __init__(self, minutes: float | None) -> None:
        self.minutes = minutes
        self.before = 0.0  # seconds, of an interrupted training
        self.started: float | None = None

    def start(self) -> None:
        """The first step is next."""
        self.started = time.monotonic()

    def seconds(self) -> float:
        """Since the first step."""
        return self.before + (0.0 if self.started is None else time.monotonic() - self.started)

    def share(self) -> float:
        """Of the time that is allowed; 0 where any time is."""
        return 0.0 if self.minutes is None else min(1.0, self.seconds() / (60 * self.minutes))


def balance(source: Tensor, target: Tensor) -> Tensor:
    """What each patch's loss is multiplied with, (batch, 1, …), so that all noise counts alike.

    Parameters
    ----------
    source, target : Tensor
        (batch, channel, …), in the same units; what is NaN does not count.
    """
    error = (source - target).flatten(1).square().nanmean(1).sqrt()
    error = error.nan_to_num(1.0).clamp_min(LEAST_ERROR)
    return (1 / error).reshape(-1, *[1] * (source.ndim - 1))


def schedule_factor(
    schedule: ScheduleConfig, steps: int, passed: Callable[[], float] = float
) -> Callable[[int], float]:
    """What the learning rate is multiplied with at a step.

    Parameters
    ----------
    schedule : ScheduleConfig
    steps : int
        Of the training.
    passed : callable
        The share of the training's time that is over, where that is limited.
    """

    def factor(step: int) -> float:
        warm = min(1.0, (step + 1) / schedule.warm_up) if schedule.warm_up else 1.0
        if schedule.kind == "step":
            return warm * schedule.factor ** (step // schedule.every)
        if schedule.kind == "cosine":
            done = max(min(1.0, step / steps), passed())
            return warm * 0.5 * (1 + math.cos(math.pi * done))
        return warm

    return factor
