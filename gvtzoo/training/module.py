"""The Lightning module: a network, its loss, its optimizer, and validation on whole images."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from gvtzoo.recipes.recipe import Recipe, ScheduleConfig
from gvtzoo.training.adversarial import PatchDiscriminator, adversarial_loss
from gvtzoo.training.losses import WITH_SIGMA, WITHOUT_SIGMA


class TrainingModule(lightning.LightningModule):
    """Trains the network of a recipe.

    Batches are pairs of source and target, (batch, channel, …); validation takes whole images,
    padded to what the network needs.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe
        self.network = recipe.network.build()
        if recipe.network.dimensions == 3:
            # On CPUs convolutions run 1.6 times as fast this way.
            volumetric: Any = getattr(self.network, "projection", self.network)
            volumetric.to(memory_format=torch.channels_last_3d)

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
        self.frozen = freeze(self.network, recipe.training.freeze)
        if recipe.training.loss not in WITH_SIGMA:
            # Processes that train together wait for the gradient of everything that has one.
            for name, parameter in self.network.named_parameters():
                if "sigma_convolution" in name.split("."):
                    parameter.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> TrainingModule:
        """Training mode, in which frozen parts keep their batch norm's statistics."""
        super().train(mode)
        for part in self.frozen:
            part.eval()
        return self

    def forward(self, source: Tensor) -> tuple[Tensor, ...]:
        """The prediction, and σ where the loss needs it."""
        if self.recipe.training.loss in WITH_SIGMA:
            return self.network.forward_with_sigma(source)
        return (self.network(source),)

    def loss(self, outputs: tuple[Tensor, ...], target: Tensor, weight: float = 0.0) -> Tensor:
        """The recipe's loss of a batch, a scalar; `weight` as in `gvtzoo.training.losses`."""
        name = self.recipe.training.loss
        if name in WITH_SIGMA:
            prediction, sigma = outputs
            return WITH_SIGMA[name](prediction.float(), sigma.float(), target, weight)
        return WITHOUT_SIGMA[name](outputs[0].float(), target)

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        source, target = batch
        outputs, training = self(source), self.recipe.training
        loss = self.loss(outputs, target, weight=training.sigma_weight)
        if self.discriminator is not None and training.adversarial is not None:
            weight = training.adversarial.weight
            loss = loss + adversarial_loss(self.discriminator, outputs[0].float(), target, weight)
        self.log("loss", loss, on_step=True, batch_size=len(batch[0]))
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """Logs the loss; the prediction, for the run folder's pictures."""
        source, target = batch
        outputs = self(source)
        # Unweighted: a weighted likelihood does not fall when σ and the error do.
        loss = self.loss(outputs, target)
        self.log("val_loss", loss, on_epoch=True, batch_size=1, sync_dist=True)
        return outputs[0]

    def on_train_start(self) -> None:
        """Take the recipe's learning rates: a checkpoint brings those that it was written with."""
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
        training = self.recipe.training
        trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        groups: list[dict[str, Any]] = [{"params": trained, "lr": training.learning_rate}]
        if self.discriminator is not None and training.adversarial is not None:
            parameters = list(self.discriminator.parameters())
            groups.append({"params": parameters, "lr": training.adversarial.learning_rate})
        optimizer = torch.optim.Adam(groups, betas=training.betas)
        factor = schedule_factor(training.schedule, training.steps)
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


def schedule_factor(schedule: ScheduleConfig, steps: int) -> Callable[[int], float]:
    """What the learning rate is multiplied with at a step."""

    def factor(step: int) -> float:
        warm = min(1.0, (step + 1) / schedule.warm_up) if schedule.warm_up else 1.0
        if schedule.kind == "step":
            return warm * schedule.factor ** (step // schedule.every)
        if schedule.kind == "cosine":
            return warm * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))
        return warm

    return factor
