"""Blind spots hide what has to be predicted; frames are each other's targets."""

from __future__ import annotations

import lightning
import numpy as np
import pytest
import tifffile
import torch

from gvtzoo.core.errors import GvtzooError
from gvtzoo.hub.load import load_own
from gvtzoo.images.normalization import FittedNormalization
from gvtzoo.packages.run_folder import load_weights, run_recipe
from gvtzoo.recipes.recipe import Recipe
from gvtzoo.training.data.noisy import BlindSpotImage, random_neighbours, read_noisy
from gvtzoo.training.train import train

RECIPE = {
    "name": "tiny",
    "task": "denoising",
    "network": {"preset": "denoising", "dimensions": 2, "features": 2},
    "training": {"patch": [16, 16], "steps": 2, "validate_every": 1, "batch_size": 1},
}


@pytest.mark.parametrize("shape", [(1, 32, 32), (1, 8, 16, 16), (2, 16, 16)])
def test_a_source_does_not_show_its_blind_spots(shape):
    array = np.random.default_rng(0).normal(size=shape)
    same = FittedNormalization(0, 1)
    image = BlindSpotImage("noisy", {}, array, array, same, same)
    box = tuple(slice(0, size) for size in shape[1:])
    source, target = image.patch(box, np.random.default_rng(1))
    spots = np.isfinite(target)
    assert 0 < spots.mean() < 0.05
    np.testing.assert_allclose(target[spots], array[spots], rtol=1e-6)
    np.testing.assert_allclose(source[~spots], array[~spots], rtol=1e-6)
    changed = array + 1000 * spots
    other = BlindSpotImage("noisy", {}, changed, changed, same, same)
    hidden, _ = other.patch(box, np.random.default_rng(1))
    assert (np.abs(hidden[spots]) < 1000).mean() > 0.9  # but for spots beside each other


@pytest.mark.parametrize("spot", [(2, 2), (0, 4)])
def test_a_spot_becomes_one_of_its_neighbours(spot):
    image = np.arange(49, dtype=np.float32).reshape(1, 7, 7)
    spots = np.zeros(image.shape, bool)
    spots[(0, *spot)] = True
    found = {
        float(random_neighbours(image, spots, np.random.default_rng(seed))[0])
        for seed in range(200)
    }
    first = np.maximum(np.array(spot) - 2, 0)
    around = image[0, first[0] : spot[0] + 3, first[1] : spot[1] + 3]
    assert found <= set(around.flat)
    if 0 not in spot:  # a mirrored neighbour may be the spot itself
        assert found == set(around.flat) - {float(image[(0, *spot)])}


def test_blind_spots_teach_a_network_to_denoise(tmp_path):
    y, x = np.mgrid[:96, :96]
    clean = 60 + 40 * np.sin(x / 6) * np.cos(y / 7)
    noisy = np.random.default_rng(0).poisson(clean).astype(np.uint16)
    tifffile.imwrite(tmp_path / "noisy.tif", noisy, imagej=True)
    steps = {"patch": [32, 32], "batch_size": 4, "steps": 300, "validate_every": 300}
    changes = {
        "network": {**RECIPE["network"], "features": 4},
        "training": {**steps, "learning_rate": 0.01, "keep": "last"},
    }
    recipe = Recipe.model_validate({**RECIPE, **changes})
    assert recipe.network.add_input  # it could pass its input on
    run = train(recipe, None, tmp_path / "run", noisy=[tmp_path / "noisy.tif"], device="cpu")
    denoised = load_own(run).predict(noisy, axes="YX", engine="torch").to_numpy()
    assert np.std(denoised - clean) < 0.6 * np.std(noisy - clean)


def series(path, frames: int) -> None:
    noisy = np.random.default_rng(0).poisson(50, (frames, 40, 40)).astype(np.uint16)
    tifffile.imwrite(path, noisy, imagej=True, metadata={"axes": "TYX"})


@pytest.mark.parametrize(
    ("frames", "kind", "training"), [(8, "frames", 10), (3, "frames", 4), (1, "blind_spots", 1)]
)
def test_what_is_learned_from(tmp_path, frames, kind, training):
    series(tmp_path / "noisy.tif", frames)
    recipe, images = read_noisy([tmp_path / "noisy.tif"], Recipe.model_validate(RECIPE))
    assert recipe.data.without_truth == kind
    assert recipe.training.loss == "mse"
    assert len(images.training) == training
    for image in images.judged:
        source, target = image.raw(np.random.default_rng(0))
        assert source.shape == target.shape
        assert not np.array_equal(source, target)


@pytest.mark.parametrize("frames", [6, 1])
@pytest.mark.parametrize("architecture", ["gvtnet", "care_unet"])
def test_training_from_the_beginning(tmp_path, frames, architecture):
    series(tmp_path / "noisy.tif", frames)
    network = {"architecture": architecture, "dimensions": 2, "depth": 2, "features": 2}
    values = {**RECIPE, "network": network if architecture != "gvtnet" else RECIPE["network"]}
    run = train(
        Recipe.model_validate(values),
        None,
        tmp_path / "run",
        noisy=[tmp_path / "noisy.tif"],
        device="cpu",
    )
    assert (run / "best.safetensors").is_file()


def test_other_tasks_need_pairs(tmp_path):
    recipe = Recipe.model_validate({**RECIPE, "task": "label_free"})
    with pytest.raises(GvtzooError, match="only a denoising network"):
        read_noisy([tmp_path / "noisy.tif"], recipe)


@pytest.mark.parametrize("weights", [False, True])
def test_sigma_begins_with_the_size_of_the_errors(tmp_path, weights):
    series(tmp_path / "noisy.tif", 6)
    values = {**RECIPE, "network": {**RECIPE["network"], "uncertainty": True}}
    recipe = Recipe.model_validate(values)
    options = {"noisy": [tmp_path / "noisy.tif"], "device": "cpu"}
    if weights:
        first = train(recipe, None, tmp_path / "first", **options)
        options["weights"] = first / "best.safetensors"
    run = train(recipe, None, tmp_path / "run", **options)
    lightning.seed_everything(recipe.training.seed, verbose=False)
    network = recipe.network.build()
    if weights:
        load_weights(network, options["weights"])
    _, images = read_noisy(options["noisy"], recipe)
    source, target = (torch.from_numpy(image)[None] for image in whole(images.training[0]))
    with torch.no_grad():
        prediction, sigma = network.forward_with_sigma(source)
    errors = (prediction - target).square().mean().sqrt().item()
    begun = run_recipe(run).training.sigma_factor * sigma.square().mean().sqrt().item()
    assert begun == pytest.approx(errors, rel=0.3)
    # Going on, it is the same factor.
    again = train(recipe, None, tmp_path / "run", resume=True, **options)
    assert run_recipe(again).training.sigma_factor == run_recipe(run).training.sigma_factor


def whole(image) -> tuple[np.ndarray, np.ndarray]:
    """All of an image, as in training."""
    box = tuple(slice(0, size) for size in image.shape[1:])
    return image.patch(box, np.random.default_rng(0))
