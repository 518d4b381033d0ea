"""A training's run folder by a recipe of the zoo, with a smaller network."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from small_package import NETWORK

from gvtzoo.recipes.recipe import load_recipe, to_yaml


def write_run(folder: Path) -> Path:
    """Recipe and weights, as training leaves them, in a new folder."""
    folder.mkdir()
    recipe = load_recipe("denoising/exposures").model_copy(update={"network": NETWORK})
    (folder / "recipe.yaml").write_text(to_yaml(recipe))
    torch.manual_seed(0)
    save_file(NETWORK.build().state_dict(), folder / "best.safetensors")
    return folder
