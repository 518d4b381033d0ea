"""Training is the reference implementation's: its weights, batches, losses and first gradient.

What differs knowingly (Adam's ε stands elsewhere, PyTorch's running variance has the Bessel factor)
is within the tolerances; a wrong loss, β₁, schedule or activation is not.
"""

from __future__ import annotations

import json
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch

from gvtzoo.networks.config import DENOISING, LABEL_FREE
from gvtzoo.packages.tensorflow import read_checkpoint, to_state_dict
from gvtzoo.recipes.recipe import Recipe, build_recipe
from gvtzoo.training.module import TrainingModule

GOLDEN = Path(__file__).parent.parent / "golden" / "training"
NETWORKS = {"label_free": LABEL_FREE, "denoise_sigma": DENOISING}
LOSSES = {("MSE", False): "mse", ("MAE", True): "mae_with_uncertainty"}


class Case:
    """One of the reference's trainings, as a recipe of ours."""

    def __init__(self, name: str) -> None:
        self.folder = GOLDEN / name
        settings = json.loads((self.folder / "training.json").read_text())
        uncertain = settings["probabilistic"]
        changes = {"features": settings["width"], "uncertainty": uncertain}
        self.recipe: Recipe = build_recipe(
            {
                "name": name,
                "task": "label_free" if name == "label_free" else "denoising",
                "network": NETWORKS[name].model_copy(update=changes).model_dump(mode="json"),
                "training": {
                    "patch": settings["patch"],
                    "batch_size": settings["batch"],
                    "steps": settings["steps"],
                    "learning_rate": settings["lr"],
                    "betas": [settings["adam"]["beta1"], settings["adam"]["beta2"]],
                    "schedule": {
                        "kind": "step",
                        "factor": settings["decay_rate"],
                        "every": settings["decay_steps"],
                    },
                    "loss": LOSSES[settings["loss"], uncertain],
                    "validation": False,
                },
            }
        )
        self.variables = read_checkpoint(self.folder)
        self.gradients = dict(np.load(self.folder / "grad0.npz"))
        self.losses = np.load(self.folder / "losses.npy")

    def module(self) -> TrainingModule:
        module = TrainingModule(self.recipe)
        state = to_state_dict(self.variables, self.recipe.network)
        module.network.load_state_dict(state, strict=False)
        return module

    def batches(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        stored = np.load(self.folder / "batches.npz")
        arrays = (stored["source"].astype(np.float32), stored["target"].astype(np.float32))
        return [(torch.from_numpy(s), torch.from_numpy(t)) for s, t in zip(*arrays, strict=True)]


@pytest.fixture(scope="module", params=NETWORKS)
def case(request) -> Case:
    return Case(request.param)


def test_the_first_loss_and_gradient_are_the_references(case):
    module = case.module()
    loss = module.loss(module(case.batches()[0][0]), case.batches()[0][1])
    assert float(loss) == pytest.approx(case.losses[0], abs=1e-5)

    loss.backward()
    statistics = {name: values for name, values in case.variables.items() if "/moving_" in name}
    expected = to_state_dict({**case.gradients, **statistics}, case.recipe.network)
    pairs = [(p.grad, expected[name]) for name, p in module.network.named_parameters()]
    difference = sum(float((mine - theirs).square().sum()) for mine, theirs in pairs)
    size = sum(float(theirs.square().sum()) for _, theirs in pairs)
    assert (difference / size) ** 0.5 < 1e-3


def test_the_losses_of_twenty_steps_are_the_references(case):
    losses: list[float] = []

    class Listener(lightning.Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, index):
            losses.append(float(outputs["loss"]))

    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Listener()],
    )
    loader = torch.utils.data.DataLoader(case.batches(), batch_size=None)
    trainer.fit(case.module(), loader)
    assert len(losses) == len(case.losses) == 20
    allowed = 0.02 * np.abs(case.losses).max()
    assert np.abs(np.array(losses) - case.losses).max() < allowed
