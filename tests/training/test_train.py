"""Patches follow from their number; runs continue exactly where they stopped."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from gvtzoo.core.errors import GvtzooError
from gvtzoo.hub.load import load_own
from gvtzoo.packages.run_folder import read_run_config
from gvtzoo.recipes.metadata import ORIGINS
from gvtzoo.recipes.recipe import DataConfig, Recipe, load_recipe, to_yaml, with_settings
from gvtzoo.training.callbacks import RunWriter
from gvtzoo.training.data.pairs import Pair, training_pairs
from gvtzoo.training.data.patches import PatchDataset, load_images
from gvtzoo.training.module import TrainingModule
from gvtzoo.training.resume import resumed_recipe
from gvtzoo.training.run import package_run
from gvtzoo.training.run_folder import read_metrics
from gvtzoo.training.train import PatchLoader, Processes, train, train_on

RECIPE = {
    "name": "tiny",
    "task": "denoising",
    "network": {
        "dimensions": 2,
        "depth": 2,
        "features": 4,
        "encoder_blocks": [1, 0],
        "downsampling": ["convolution"],
        "upsampling": ["gvto_v2"],
        "decoder_blocks": [1],
        "uncertainty": True,
        "batch_norm": False,
    },
    "training": {
        "patch": [16, 16],
        "batch_size": 2,
        "steps": 6,
        "validate_every": 2,
        "loss": "mae_with_uncertainty",
        "learning_rate": 0.01,
    },
    "augmentation": {"flips": True, "turns": True},
}


@pytest.fixture
def recipe() -> Recipe:
    return Recipe.model_validate(RECIPE)


@pytest.fixture
def pairs(tmp_path) -> Path:
    """Folder pairs: blobs, and the same with noise."""
    generator = np.random.default_rng(0)
    for split, count in (("train", 2), ("val", 1)):
        for kind in ("source", "target"):
            (tmp_path / "data" / split / kind).mkdir(parents=True)
        for number in range(count):
            y, x = np.mgrid[:40, :36]
            clean = 500 + 400 * np.sin(y / 5 + number) * np.cos(x / 7)
            noisy = generator.poisson(clean)
            for kind, image in (("source", noisy), ("target", clean)):
                path = tmp_path / "data" / split / kind / f"{number}.tif"
                tifffile.imwrite(path, image.astype(np.uint16), imagej=True)
    return tmp_path / "data"


def dataset(images, recipe: Recipe, start: int, stop: int) -> PatchDataset:
    return PatchDataset(images, recipe, start, stop)


def test_a_patch_follows_from_its_number(pairs, recipe):
    images = load_images(pairs, "train", recipe)
    first, later = dataset(images, recipe, 0, 10), dataset(images, recipe, 5, 10)
    for index in range(5):
        for expected, found in zip(first[5 + index], later[index], strict=True):
            np.testing.assert_array_equal(expected, found)
    assert not np.array_equal(first[0][0], first[1][0])


def test_source_and_target_are_augmented_alike(pairs, recipe):
    target_only = {**RECIPE, "normalization": {"target": "as_source"}}
    recipe = Recipe.model_validate(target_only)
    for file in (pairs / "train" / "source").iterdir():
        (pairs / "train" / "target" / file.name).write_bytes(file.read_bytes())
    for source, target in dataset(load_images(pairs, "train", recipe), recipe, 0, 8):
        np.testing.assert_array_equal(source, target)


def test_training_writes_a_run_folder(pairs, recipe, tmp_path):
    run = train(recipe, pairs, tmp_path / "run", device="cpu")
    names = {path.name for path in run.iterdir()}
    assert names >= {"recipe.yaml", "data.json", "versions.json", "metrics.csv", "example.npz"}
    assert load_recipe(run / "recipe.yaml") == recipe
    recipe.network.build().load_state_dict(load_file(run / "best.safetensors"))
    assert not [name for name in names if name.startswith(".")]


def test_training_learns(pairs, recipe, tmp_path):
    longer = recipe.model_copy(
        update={"training": recipe.training.model_copy(update={"steps": 60, "validate_every": 30})}
    )
    run = train(longer, pairs, tmp_path / "run", device="cpu")
    rows = (run / "metrics.csv").read_text().splitlines()[1:]
    first, last = (float(row.split(",")[1]) for row in rows)
    assert last < first - 0.1


TRAIN_UNTIL_KILLED = """
import os, signal, sys, torch
from gvtzoo.recipes.recipe import load_recipe
from gvtzoo.training.train import train

torch.set_num_threads(1)

def kill(step, steps, loss):
    if step == 3:
        os.kill(os.getpid(), signal.SIGKILL)

recipe, data, run = sys.argv[1:]
train(load_recipe(recipe), data, run, device="cpu", progress=kill)
"""


@pytest.fixture
def one_thread():
    """Sums in the same order as in the other process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_a_killed_training_continues_exactly(pairs, recipe, tmp_path, one_thread):
    whole = train(recipe, pairs, tmp_path / "whole", device="cpu")
    command = [sys.executable, "-c", TRAIN_UNTIL_KILLED]
    arguments = [whole / "recipe.yaml", pairs, tmp_path / "killed"]
    killed_process = subprocess.run([*command, *map(str, arguments)], check=False, timeout=300)
    assert killed_process.returncode == -signal.SIGKILL
    killed = train(recipe, pairs, tmp_path / "killed", device="cpu", resume=True)
    assert (killed / "metrics.csv").read_text() == (whole / "metrics.csv").read_text()
    expected, found = (load_file(run / "best.safetensors") for run in (whole, killed))
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0)


def test_a_loss_that_is_not_finite_stops_with_advice(pairs, recipe, tmp_path):
    wild = recipe.model_copy(
        update={
            "training": recipe.training.model_copy(
                update={"learning_rate": 1e30, "loss": "mse", "steps": 50, "validate_every": 50}
            )
        }
    )
    with pytest.raises(GvtzooError, match=r"lower --set training\.learning_rate"):
        train(wild, pairs, tmp_path / "run", device="cpu")


def test_training_starts_from_given_weights(pairs, recipe, tmp_path):
    first = train(recipe, pairs, tmp_path / "first", device="cpu")
    still = recipe.model_copy(
        update={"training": recipe.training.model_copy(update={"learning_rate": 1e-30})}
    )
    weights = first / "best.safetensors"
    second = train(still, pairs, tmp_path / "second", device="cpu", weights=weights)
    expected, found = (load_file(run / "best.safetensors") for run in (first, second))
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor)


def test_weights_of_another_network_are_refused(pairs, recipe, tmp_path):
    first = train(recipe, pairs, tmp_path / "first", device="cpu")
    wider = recipe.model_copy(update={"network": recipe.network.model_copy(update={"features": 8})})
    with pytest.raises(GvtzooError, match="does not fit the recipe's network"):
        train(wider, pairs, tmp_path / "second", device="cpu", weights=first / "best.safetensors")


def test_a_run_without_checkpoint_is_resumed_from_the_beginning(pairs, recipe, tmp_path):
    expected = train(recipe, pairs, tmp_path / "whole", device="cpu")
    run = train(recipe, pairs, tmp_path / "run", device="cpu")
    for file in run.iterdir():
        if file.suffix in (".ckpt", ".safetensors", ".csv"):
            file.unlink()
    train(recipe, pairs, run, device="cpu", resume=True)
    losses = [(folder / "metrics.csv").read_text() for folder in (expected, run)]
    assert losses[0] == losses[1]


def test_a_run_folder_is_not_overwritten(pairs, recipe, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "precious.txt").write_text("mine")
    with pytest.raises(GvtzooError, match="is not empty"):
        train(recipe, pairs, tmp_path / "run", device="cpu")


def test_resuming_needs_a_checkpoint(pairs, recipe, tmp_path):
    with pytest.raises(GvtzooError, match=r"no last\.ckpt to resume from"):
        train(recipe, pairs, tmp_path / "run", device="cpu", resume=True)


def test_unpaired_files_are_named(pairs):
    (pairs / "train" / "target" / "0.tif").unlink()
    with pytest.raises(GvtzooError, match=r"0\.tif has no partner in target/"):
        training_pairs(pairs, "train", DataConfig())


def test_pairs_from_csv(pairs):
    rows = ["source,target,split", "train/source/0.tif,train/target/0.tif,train"]
    rows.append("val/source/0.tif,val/target/0.tif,val")
    (pairs / "list.csv").write_text("\n".join(rows))
    found = training_pairs(pairs / "list.csv", "val", DataConfig())
    assert found == [Pair(pairs / "val/source/0.tif", pairs / "val/target/0.tif")]


def test_a_recipes_lists_count_where_its_files_are(pairs, recipe):
    rows = "source,target\ntrain/source/1.tif,train/target/1.tif\n"
    (pairs / "list.csv").write_text(rows)
    listed = DataConfig(files={"train": "list.csv"})
    assert [pair.source.name for pair in training_pairs(pairs, "train", listed)] == ["1.tif"]
    assert training_pairs(pairs, "val", listed) == []
    (pairs / "list.csv").write_text(rows.replace("1.tif", "elsewhere.tif"))
    assert len(training_pairs(pairs, "train", listed)) == 2
    assert len(training_pairs(pairs, "val", listed)) == 1


def test_training_needs_validation_images(pairs, recipe, tmp_path):
    for kind in ("source", "target"):
        (pairs / "val" / kind / "0.tif").unlink()
        (pairs / "val" / kind).rmdir()
    (pairs / "val").rmdir()
    with pytest.raises(GvtzooError, match="no validation images"):
        train(recipe, pairs, tmp_path / "run", device="cpu")


def test_patches_larger_than_an_image_are_refused(pairs, recipe, tmp_path):
    large = recipe.model_copy(
        update={"training": recipe.training.model_copy(update={"patch": (64, 64)})}
    )
    with pytest.raises(GvtzooError, match=r"smaller than a patch \(64, 64\): .*patch=\[36,36\]"):
        train(large, pairs, tmp_path / "run", device="cpu")


def test_noisy_images_share_units_with_their_truth(tmp_path):
    recipe = load_recipe("denoising/nuclei")
    y, x = np.mgrid[:256, :64]
    stack = np.stack([1000 + 900 * np.sin(y / 6) * np.sin(x / 6)] * 8).astype(np.uint16)
    tifffile.imwrite(tmp_path / "clean.tif", stack, imagej=True, metadata={"axes": "ZYX"})
    images = load_images(tmp_path, "val", recipe)
    assert recipe.data.noise is not None
    levels = len(recipe.data.noise.photons)
    assert [image.shape for image in images] == [(1, 8, 32, 64)] * levels
    source, target = images[-1].patch((slice(None),) * 3, np.random.default_rng(0))
    assert abs(source.mean() - target.mean()) < 0.02
    assert source.std() > target.std()


TRAIN_TOGETHER = """
import sys, torch
from gvtzoo.recipes.recipe import load_recipe
from gvtzoo.training.train import train

torch.set_num_threads(1)
recipe, data, run = sys.argv[1:]
train(load_recipe(recipe), data, run, device="cpu")
"""


@pytest.mark.slow
def test_two_processes_train_like_one(pairs, recipe, tmp_path):
    alone = train(recipe, pairs, tmp_path / "alone", device="cpu")
    script = tmp_path / "together.py"
    script.write_text(TRAIN_TOGETHER)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    arguments = [script, alone / "recipe.yaml", pairs, tmp_path / "together"]
    subprocess.run([*launcher, *map(str, arguments)], check=True, timeout=300)
    rows = [
        [float(number) for row in read_metrics(run / "metrics.csv") for number in row.values()]
        for run in (alone, tmp_path / "together")
    ]
    assert rows[1] == pytest.approx(rows[0], rel=1e-3)


def test_batches_that_processes_cannot_share_are_refused(pairs, recipe):
    images = load_images(pairs, "train", recipe)
    with pytest.raises(GvtzooError, match="batch_size 2 cannot be shared by 3 processes"):
        PatchLoader(recipe, images, images, Processes(count=3, local=3))


def changed(recipe: Recipe, **settings) -> Recipe:
    values = recipe.model_dump(mode="json")
    return Recipe.model_validate({**values, "training": {**values["training"], **settings}})


def test_training_ends_when_it_no_longer_improves(pairs, recipe, tmp_path):
    still = changed(recipe, learning_rate=1e-30, early_stopping=1, validate_every=1, steps=6)
    run = train(still, pairs, tmp_path / "run", device="cpu")
    assert len(read_metrics(run / "metrics.csv")) == 2


def test_the_last_weights_are_kept_without_validation(pairs, recipe, tmp_path):
    run = train(changed(recipe, validation=False), pairs, tmp_path / "run", device="cpu")
    assert [row["val_loss"] for row in read_metrics(run / "metrics.csv")] == ["", "", ""]
    checkpoint = torch.load(run / "last.ckpt", weights_only=True)["state_dict"]
    for name, tensor in load_file(run / "best.safetensors").items():
        torch.testing.assert_close(checkpoint[f"network.{name}"], tensor)


def test_the_run_folder_shows_how_it_went(pairs, recipe, tmp_path, in_full):
    run = train(changed(recipe, tensorboard=True), pairs, tmp_path / "run", device="cpu")
    assert (run / "losses.png").read_bytes().startswith(b"\x89PNG")
    pictures = sorted(path.name for path in (run / "validation").iterdir())
    assert pictures == ["0000002.png", "0000004.png", "0000006.png"]
    assert list((run / "tensorboard").iterdir())


def test_an_interrupted_training_has_drawn_its_losses(pairs, recipe, tmp_path, in_full):
    def leave(step: int, steps: int, loss: float) -> None:
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(recipe, pairs, tmp_path / "run", device="cpu", progress=leave)
    assert (tmp_path / "run" / "losses.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("dimensions", [2, 3])
def test_on_a_cpu_weights_have_the_channels_last(dimensions, pairs, recipe, tmp_path):
    changes = {}
    if dimensions == 3:
        for path in pairs.glob("*/*/*.tif"):
            planes = np.stack([tifffile.imread(path)] * 4)
            tifffile.imwrite(path, planes, imagej=True, metadata={"axes": "ZYX"})
        changes = {"network": {"dimensions": 3}, "training": {"patch": [4, 16, 16]}}
    suited = with_settings(recipe, **changes)
    layout = torch.channels_last if dimensions == 2 else torch.channels_last_3d
    seen = []

    def judge(network: Any) -> float:
        weights = [p for p in network.parameters() if p.ndim == dimensions + 2]
        seen.append(all(weight.is_contiguous(memory_format=layout) for weight in weights))
        return 0.0

    images = [load_images(pairs, split, suited) for split in ("train", "val")]
    train_on(suited, *images, tmp_path / "run", device="cpu", judge=judge)
    assert seen == [True] * 4


def test_the_run_folder_lists_the_data_with_hashes(pairs, recipe, tmp_path):
    run = train(recipe, pairs, tmp_path / "run", device="cpu")
    listed = json.loads((run / "data.json").read_text())
    assert listed["train"]["count"] == 2
    assert listed["val"]["images"] == [{"name": "0", "shape": [1, 40, 36]}]
    for file in listed["val"]["files"]:
        digest = hashlib.sha256(Path(file["path"]).read_bytes()).hexdigest()
        assert file["sha256"] == digest
    assert len(listed["val"]["files"]) == 2


@pytest.mark.parametrize("name", ["projection/notum", "projection/notum_unet"])
def test_surfaces_are_projected(tmp_path, name):
    y, x = np.mgrid[:64, :508]
    images = {"heightmap": 8 + 4 * np.sin(x / 60), "segmentation": (x % 12 > 0) & (y % 12 > 0)}
    for stem, image in images.items():
        tifffile.imwrite(tmp_path / f"{stem}.tif", image.astype(np.float32), imagej=True)
    settings = ["training.steps=1", "training.patch=[16, 16]", "training.batch_size=1"]
    settings.append("network.features=4")
    if name.endswith("notum"):
        settings[1] = "training.patch=[32, 16, 16]"
    run = train(load_recipe(name, settings), tmp_path, tmp_path / "run", device="cpu")
    with np.load(run / "example.npz") as example:
        assert example["target"].ndim == 3
        assert example["source"].shape[-2:] == example["target"].shape[-2:]


def test_intensity_and_noise_change_the_source_only(pairs, recipe):
    values = {**RECIPE, "normalization": {"target": "as_source"}}
    values["augmentation"] = {"intensity": 0.2, "noise": 0.1}
    plain = Recipe.model_validate({**values, "augmentation": {}})
    images = load_images(pairs, "train", plain)
    before = dataset(images, plain, 0, 4)
    after = dataset(images, Recipe.model_validate(values), 0, 4)
    for (source, target), (new_source, new_target) in zip(before, after, strict=True):
        np.testing.assert_array_equal(target, new_target)
        assert new_source.dtype == np.float32
        assert 0.02 < np.abs(new_source - source).mean() < 0.5


def test_adversarial_training_continues_too(pairs, recipe, tmp_path):
    sharp = changed(recipe, adversarial={"weight": 0.1, "features": 4}, early_stopping=None)
    run = train(sharp, pairs, tmp_path / "run", device="cpu")
    names = load_file(run / "best.safetensors")
    assert not any("discriminator" in name for name in names)
    saved = torch.load(run / "last.ckpt", weights_only=True)
    assert any(name.startswith("discriminator.") for name in saved["state_dict"])
    assert [group["initial_lr"] for group in saved["optimizer_states"][0]["param_groups"]] == [
        0.01,
        2e-4,
    ]


def test_images_are_the_same_from_a_cache_on_disk(pairs, recipe, tmp_path):
    plain = load_images(pairs, "train", recipe)
    cached = load_images(pairs, "train", recipe, tmp_path / "cache")
    for one, other in zip(dataset(plain, recipe, 0, 4), dataset(cached, recipe, 0, 4), strict=True):
        for expected, found in zip(one, other, strict=True):
            np.testing.assert_array_equal(expected, found)
    assert all(isinstance(image.source, np.memmap) for image in cached)


@pytest.mark.parametrize(
    "architecture",
    ["fnet", "care_unet", "rsgu_net", pytest.param("ce_net", marks=pytest.mark.slow)],
)
def test_baselines_train_and_are_packaged(pairs, tmp_path, architecture):
    network = {"architecture": architecture, "depth": 2, "features": 2, "uncertainty": True}
    recipe = Recipe.model_validate({**RECIPE, "network": network})
    assert recipe.network.dimensions == 2
    run = train(recipe, pairs, tmp_path / "run", device="cpu")
    built, trained = recipe.network.build().state_dict(), load_file(run / "best.safetensors")
    assert built.keys() == trained.keys()
    model = load_own(package_run(run, tmp_path / "model.zip"))
    image = tifffile.imread(pairs / "val" / "source" / "0.tif")
    prediction, sigma = model.predict(image, uncertainty=True, device="cpu")
    assert prediction.shape == sigma.shape == image.shape
    assert ORIGINS[architecture].title in model.config.metadata.name


def test_what_the_loss_does_not_reach_is_not_trained(recipe):
    """Processes that train together would wait for its gradient, and end in an error."""
    changes = {"loss": "mae", "sigma_weight": 0.0}
    training = recipe.training.model_copy(update=changes)
    module = TrainingModule(recipe.model_copy(update={"training": training}))
    assert module.network.sigma_convolution is not None
    images = torch.rand(1, 1, 16, 16)
    module.loss(module(images), images).backward()
    trained = [p for p in module.network.parameters() if p.requires_grad]
    assert trained
    assert all(parameter.grad is not None for parameter in trained)


def validated(writer, losses):
    """Which of validations with these losses are kept as the best."""
    kept = []
    for loss in losses:
        kept.append(writer._is_better(loss))
        writer.rows.append({"val_loss": repr(loss)})
    return kept


def test_a_first_validation_that_is_no_number_is_outdone_by_any(tmp_path):
    nan = float("nan")
    settings = Recipe.model_validate(
        {**RECIPE, "training": {**RECIPE["training"], "early_stopping": 2}}
    ).training
    writer = RunWriter(tmp_path, resume=False, settings=settings)
    assert validated(writer, [nan, nan, 3.0, nan, 2.0]) == [True, False, True, False, True]
    assert not writer._is_over()
    writer.rows.append({"val_loss": "nan"})
    writer.rows.append({"val_loss": "2.5"})
    assert writer._is_over()


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_that_no_generator_takes_are_refused(seed):
    with pytest.raises(ValidationError, match=r"training\.seed"):
        Recipe.model_validate({**RECIPE, "training": {**RECIPE["training"], "seed": seed}})


def stopped(recipe: Recipe, pairs, run, steps: int = 2) -> Path:
    """A run as it is after some steps."""
    train(changed(recipe, steps=steps), pairs, run, device="cpu")
    (run / "recipe.yaml").write_text(to_yaml(recipe))
    return run


@pytest.mark.parametrize(
    "setting",
    ["training.patch=[8, 8]", "training.batch_size=1", "training.seed=3", "network.features=8"],
)
def test_resuming_with_another_setting_is_refused(pairs, recipe, tmp_path, setting):
    run = stopped(recipe, pairs, tmp_path / "run")
    before = (run / "recipe.yaml").read_text()
    with pytest.raises(GvtzooError, match=f"was begun with {setting.partition('=')[0]}"):
        train(resumed_recipe(run, [setting]), pairs, run, device="cpu", resume=True)
    assert (run / "recipe.yaml").read_text() == before
    assert not (run / "changes.json").exists()


def test_what_is_changed_on_the_way_is_written_down_and_holds(pairs, recipe, tmp_path):
    run = stopped(recipe, pairs, tmp_path / "run")
    slower = resumed_recipe(run, ["training.learning_rate=0.002", "training.steps=4"])
    train(slower, pairs, run, device="cpu", resume=True)
    change = {"step": 2, "setting": "training.learning_rate", "before": 0.01, "after": 0.002}
    assert change in json.loads((run / "changes.json").read_text())
    assert load_recipe(run / "recipe.yaml") == slower
    rates = [float(row["learning_rate"]) for row in read_metrics(run / "metrics.csv")]
    assert rates == [0.01, 0.002]


def test_resuming_with_the_runs_own_recipe_changes_nothing(pairs, recipe, tmp_path):
    run = stopped(recipe, pairs, tmp_path / "run")
    before = {name: (run / name).read_bytes() for name in ("recipe.yaml", "data.json")}
    train(resumed_recipe(run), pairs, run, device="cpu", resume=True)
    assert {name: (run / name).read_bytes() for name in before} == before
    assert len(read_metrics(run / "metrics.csv")) == 3
    assert not (run / "changes.json").exists()


def test_other_images_are_refused_and_moved_ones_taken(pairs, recipe, tmp_path):
    run = stopped(recipe, pairs, tmp_path / "run")
    moved = pairs.rename(tmp_path / "moved")
    image = moved / "train" / "source" / "1.tif"
    content = image.read_bytes()
    tifffile.imwrite(image, np.full((40, 36), 7, np.uint16) + np.eye(40, 36, dtype=np.uint16))
    with pytest.raises(GvtzooError, match=r"1\.tif is missing, or has changed"):
        train(resumed_recipe(run), moved, run, device="cpu", resume=True)
    image.write_bytes(content)
    train(resumed_recipe(run), moved, run, device="cpu", resume=True)


def test_weights_bring_what_they_have_learned_from(pairs, recipe, tmp_path):
    first = train(recipe, pairs, tmp_path / "first", device="cpu")
    second = train(
        recipe, pairs, tmp_path / "second", device="cpu", weights=first / "best.safetensors"
    )
    known = read_run_config(second).trained_on.files
    assert {file.model for file in known} == {"", "first"}
    assert len(known) == 2 * len(read_run_config(first).trained_on.files)


def test_kept_weights_are_the_average_and_rounded(pairs, recipe, tmp_path):
    changed = with_settings(recipe, training={"ema": 0.9, "mantissa_bits": 8, "keep": "last"})
    run = train(changed, pairs, tmp_path / "run", device="cpu")
    state = torch.load(run / "last.ckpt", weights_only=True)["state_dict"]
    for name, kept in load_file(run / "best.safetensors").items():
        assert not (kept.view(torch.int32) & 0x7FFF).any()
        average = state[f"average.{name}"]
        torch.testing.assert_close(kept, average, rtol=2**-8, atol=0)
        if kept.numel() > 1:
            assert not torch.equal(average, state[f"network.{name}"])


def test_a_training_ends_when_its_time_is_over(pairs, recipe, tmp_path):
    settings = {"steps": 100_000, "validate_every": 1000, "minutes": 0.02}
    changed = with_settings(recipe, training={**settings, "schedule": {"kind": "cosine"}})
    run = train(changed, pairs, tmp_path / "run", device="cpu")
    (row,) = read_metrics(run / "metrics.csv")
    assert int(row["step"]) < 1000
    assert float(row["learning_rate"]) < 0.3 * recipe.training.learning_rate


def test_simulated_patches_train(tmp_path):
    stack = 500 + 400 * np.sin(np.mgrid[:8, :24, :24] / 3).prod(axis=0)
    for split in ("train", "val"):
        (tmp_path / "clean" / split).mkdir(parents=True)
        path = tmp_path / "clean" / split / "stack.tif"
        tifffile.imwrite(path, stack.astype(np.uint16), imagej=True, metadata={"axes": "ZYX"})
    settings = [
        "network.features=4",
        "training.patch=[8,16,16]",
        "training.batch_size=2",
        "training.steps=4",
        "training.validate_every=2",
        'training.precision="32"',
        "data.regions=null",
        "data.noise.photons=[20]",
        "data.simulation.synthetic=0",
    ]
    recipe = load_recipe("denoising/generalist", settings)
    run = train(recipe, tmp_path / "clean", tmp_path / "run", device="cpu")
    rows = read_metrics(run / "metrics.csv")
    assert [row["step"] for row in rows] == ["2", "4"]
    again = train(recipe, tmp_path / "clean", tmp_path / "again", device="cpu")
    assert read_metrics(again / "metrics.csv") == rows
