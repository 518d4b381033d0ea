"""A packaged model goes on learning from a few pairs, and says whether it helped."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import small_package
import tifffile
from safetensors.torch import load_file
from typer.testing import CliRunner

from gvtzoo.cli.main import app
from gvtzoo.core.errors import GvtzooError
from gvtzoo.hub.load import load_own
from gvtzoo.images.normalization import NormalizationConfig
from gvtzoo.metrics.pair import pearson_r
from gvtzoo.packages.config import PackageConfig
from gvtzoo.packages.run_folder import read_run_config
from gvtzoo.packages.writer import write_package
from gvtzoo.recipes.metadata import default_metadata
from gvtzoo.recipes.recipe import load_recipe
from gvtzoo.training.finetune import finetune, finetuning_recipe
from gvtzoo.training.run import package_run
from gvtzoo.training.run_folder import read_metrics

QUICK = ["training.patch=[16, 16]", "training.steps=40", "training.learning_rate=0.01"]


@pytest.fixture
def package(tmp_path) -> Path:
    return small_package.write_folder(tmp_path / "package", small_package.members())


def save_pairs(folder: Path, count: int, size: int = 48) -> Path:
    generator = np.random.default_rng(0)
    for kind in ("source", "target"):
        (folder / kind).mkdir(parents=True)
    y, x = np.mgrid[:size, :size]
    for number in range(count):
        clean = 200 + 100 * np.sin(y / 4 + number) * np.cos(x / 5)
        for kind, image in (("source", generator.poisson(clean)), ("target", clean)):
            image = image.astype(np.uint16)
            tifffile.imwrite(folder / kind / f"{number}.tif", image, imagej=True)
    return folder


def test_one_pair_is_enough(package, tmp_path, in_full):
    data = save_pairs(tmp_path / "data", 1)
    result = finetune(package, data, tmp_path / "run", settings=QUICK, device="cpu")
    assert result.helped
    assert result.validation == "a band of 25% of the pair, held out"
    assert result.picture.is_file()


def test_the_new_model_names_its_parent_and_what_it_gained(package, tmp_path):
    data = save_pairs(tmp_path / "data", 4)
    result = finetune(package, data, tmp_path / "run", settings=QUICK, device="cpu")
    assert result.validation == "1 of 4 pairs, held out"
    config = read_run_config(result.run)
    assert config.metadata.parent == "small-model"
    assert config.metadata.authors[0].name == "unknown", "not those of the model before"
    assert {file.use for file in config.trained_on.files} == {"train", "val"}
    before, after, filtered = config.metrics
    assert filtered.method.startswith("Gaussian, sigma ")
    assert (before.chose_weights, after.chose_weights) == (False, True)
    assert before.method == "before (small-model)"
    assert after.values == pytest.approx(result.after)


@pytest.mark.parametrize(
    ("frozen", "moved", "kept"),
    [("encoder", "bottom.", "first_convolution."), ("all-but-last", "output_", "bottom.")],
)
def test_frozen_parts_keep_their_weights(package, tmp_path, frozen, moved, kept):
    settings = [*QUICK, f"training.freeze={frozen}"]
    data = save_pairs(tmp_path / "data", 2)
    run = finetune(package, data, tmp_path / "run", settings=settings, device="cpu").run
    old, new = small_package.weights(), load_file(run / "best.safetensors")
    changed = {name for name in old if not np.array_equal(old[name], new[name])}
    assert any(name.startswith(moved) for name in changed)
    assert not any(name.startswith((kept, "encoder.")) for name in changed)


def test_settings_of_the_first_training_are_taken():
    original = load_recipe("denoising/nuclei")
    config = small_package.CONFIG.model_copy(
        update={
            "network": original.network,
            "normalization": original.normalization,
            "recipe": original.model_dump(mode="json"),
        }
    )
    recipe = finetuning_recipe(config, ["training.steps=7"])
    assert recipe.training.learning_rate == original.training.learning_rate
    assert recipe.training.loss == original.training.loss
    assert recipe.training.steps == 7
    assert recipe.data.noise is None


def test_wrong_settings_are_named():
    with pytest.raises(GvtzooError, match=r"training\.freeze: .*'encoder'"):
        finetuning_recipe(small_package.CONFIG, ["training.freeze=decoder"])


def test_pairs_that_cannot_be_divided_are_refused(package, tmp_path):
    data = save_pairs(tmp_path / "data", 1, size=4)
    with pytest.raises(GvtzooError, match="too few to hold some out"):
        finetune(package, data, tmp_path / "run", settings=QUICK, device="cpu")


def test_what_does_not_help_leaves_the_original_and_says_so(package, tmp_path, caplog):
    data, run = save_pairs(tmp_path / "data", 4), tmp_path / "run"
    command = ["finetune", str(package), "--data", str(data), "-o", str(run)]
    ruinous = ["--set", "training.learning_rate=10", "--set", "training.patch=[16, 16]"]
    result = CliRunner().invoke(app, [*command, *ruinous, "--set", "training.steps=4"])
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == str(run)
    assert "before  r " in result.stdout
    assert "holds the original's weights" in result.stderr
    assert "is nearer to the held-out targets than the model" in caplog.text
    original, kept = small_package.weights(), load_file(run / "best.safetensors")
    assert all(np.array_equal(original[name], kept[name]) for name in original)
    package_run(run, tmp_path / "again.zip")
    assert "the weights are those of small-model" in caplog.text


def test_targets_in_other_units_do_no_harm(package, tmp_path):
    same, other = save_pairs(tmp_path / "same", 4), save_pairs(tmp_path / "other", 4)
    for path in (other / "target").iterdir():
        brighter = 60 * tifffile.imread(path).astype(np.float32) + 500
        tifffile.imwrite(path, brighter, imagej=True)
    after = {}
    for data in (same, other):
        settings = [*QUICK, "normalization.target=as_source", "training.steps=80"]
        result = finetune(package, data, data / "run", settings=settings, device="cpu")
        after[data.name] = result.after
        assert result.after["r"] >= result.before["r"]
    assert after["other"]["SSIM"] == pytest.approx(after["same"]["SSIM"], abs=0.03)
    model = load_own(other / "run")
    assert model.config.normalization.target_units.gain == pytest.approx(60, rel=0.1)
    means = {
        data.name: load_own(data / "run").predict(image, "YX").to_numpy().mean()
        for data in (same, other)
        for image in [tifffile.imread(data / "source" / "0.tif")]
    }
    assert means["other"] == pytest.approx(60 * means["same"] + 500, rel=0.05)
    assert means["other"] == pytest.approx(60 * 200 + 500, rel=0.1)


def test_an_interrupted_fine_tuning_goes_on(package, tmp_path):
    data, run = save_pairs(tmp_path / "data", 4), tmp_path / "run"
    settings = [*QUICK, "training.steps=12", "training.validate_every=4"]

    def interrupt(step: int, steps: int, loss: float) -> None:
        if step == 7:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        finetune(package, data, run, settings=settings, device="cpu", progress=interrupt)
    with pytest.raises(GvtzooError, match="continue with --resume"):
        finetune(package, data, run, settings=settings, device="cpu")
    resumed = finetune(package, data, run, settings=settings, device="cpu", resume=True)
    whole = finetune(package, data, tmp_path / "whole", settings=settings, device="cpu")
    assert resumed.after == pytest.approx(whole.after, rel=1e-6)
    again = finetune(package, data, run, settings=settings, device="cpu", resume=True)
    assert again.after == resumed.after, "a finished one stays what it is"


def test_what_is_judged_is_what_is_kept(package, tmp_path):
    data = save_pairs(tmp_path / "data", 4)
    settings = [*QUICK, "training.ema=0.9", "training.steps=20"]
    run = finetune(package, data, tmp_path / "run", settings=settings, device="cpu").run
    report = json.loads((run / "finetuning.json").read_text())
    judged = min(float(row["val_loss"]) for row in read_metrics(run / "metrics.csv"))
    kept = next(row["score"] for row in report["scores"] if row["share"] == 1)
    assert kept == pytest.approx(judged, rel=1e-4)


RUINOUS_FIRST = ["training.patch=[16, 16]", "training.steps=20", "training.validate_every=10"]


@pytest.fixture
def high_rates(monkeypatch):
    """The first attempt's rate ruins every network."""
    monkeypatch.setattr("gvtzoo.training.finetune.RATES", (1e4, 10.0, 1e-9))


def test_where_nothing_helps_a_lower_rate_is_tried(package, tmp_path, high_rates):
    data, run = save_pairs(tmp_path / "data", 4), tmp_path / "run"
    steps = []
    settings = RUINOUS_FIRST
    finetune(package, data, run, settings=settings, progress=lambda *seen: steps.append(seen[:2]))
    report = json.loads((run / "finetuning.json").read_text())
    first, second, *others = [attempt["rate"] for attempt in report["attempts"]]
    assert first / second == pytest.approx(1000)
    assert report["attempts"][0]["score"] >= 0, "nothing better than the original"
    if report["helped"]:
        assert not others
    aside = json.loads((run / "attempt_1" / "attempt.json").read_text())
    assert aside == report["attempts"][0]
    assert read_metrics(run / "attempt_1" / "metrics.csv"), "nothing is lost"
    assert [step for step, _ in steps] == sorted(step for step, _ in steps)
    assert all(step <= last for step, last in steps)


def test_interrupted_in_a_later_attempt_it_goes_on(package, tmp_path, high_rates):
    data, run = save_pairs(tmp_path / "data", 4), tmp_path / "run"

    def interrupt(step: int, steps: int, loss: float) -> None:
        if step == 30:  # the tenth step of the second attempt
            raise InterruptedError

    with pytest.raises(InterruptedError):
        finetune(package, data, run, settings=RUINOUS_FIRST, progress=interrupt)
    resumed = finetune(package, data, run, settings=RUINOUS_FIRST, resume=True)
    whole = finetune(package, data, tmp_path / "whole", settings=RUINOUS_FIRST)
    assert resumed.after == pytest.approx(whole.after, rel=1e-6)
    reports = [json.loads((folder / "finetuning.json").read_text()) for folder in (run, whole.run)]
    assert len(reports[0]["attempts"]) == len(reports[1]["attempts"]) > 1
    again = finetune(package, data, run, settings=RUINOUS_FIRST, resume=True)
    assert again.after == resumed.after, "a finished one stays what it is"


def test_a_computer_that_is_switched_off_between_attempts(package, tmp_path, high_rates):
    data, run = save_pairs(tmp_path / "data", 4), tmp_path / "run"
    whole = finetune(package, data, run, settings=RUINOUS_FIRST)
    aside = run / "attempt_1"
    before = {path.name for path in aside.iterdir()}
    # As it was in the middle of putting the first attempt aside.
    for path in [path for path in run.iterdir() if path != aside]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    aside.rename(run / "attempt_1.partial")
    for name in ("recipe.yaml", "attempt.json"):
        (run / "attempt_1.partial" / name).rename(run / name)
    resumed = finetune(package, data, run, settings=RUINOUS_FIRST, resume=True)
    assert {path.name for path in aside.iterdir()} == before
    assert resumed.after == pytest.approx(whole.after, rel=1e-6)


@pytest.mark.parametrize("frames", [8, 1])
def test_noisy_images_are_enough(package, tmp_path, frames):
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64]
    clean = 20 + 15 * np.sin(y / 4) * np.cos(x / 5)
    noisy = generator.poisson(np.stack([clean] * frames)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "noisy.tif", noisy, imagej=True, metadata={"axes": "TYX"})
    result = finetune(
        package, None, tmp_path / "run", noisy=[tmp_path / "noisy.tif"], settings=QUICK
    )
    assert set(result.after) == {"r", "NRMSE"}
    assert result.helped
    before, after = (
        pearson_r(clean, model.predict(noisy[0], "YX").to_numpy())
        for model in (load_own(package), load_own(result.run))
    )
    assert after > before
    text = (tmp_path / "run" / "finetuning.json").read_text()
    assert "Infinity" not in text, "which is no JSON"
    assert [row["learned"] for row in json.loads(text)["scores"]] == [None] * 4


def test_a_baseline_is_fine_tuned_as_a_whole(tmp_path):
    data = save_pairs(tmp_path / "data", 2)
    network = {"architecture": "care_unet", "dimensions": 2, "depth": 2, "features": 2}
    config = PackageConfig(
        task="denoising",
        network=network,
        normalization=NormalizationConfig(),
        metadata=default_metadata("small", "denoising", "care_unet"),
    )
    package = write_package(
        tmp_path / "model.zip",
        network=config.network.build(),
        config=config,
        example=np.random.default_rng(0).normal(size=(32, 32)),
    )
    run = finetune(package, data, tmp_path / "run", settings=[*QUICK[:1], "training.steps=3"]).run
    assert load_recipe(run / "recipe.yaml").network == config.network
    with pytest.raises(GvtzooError, match="freeze 'encoder' is for GVTNets"):
        finetuning_recipe(config, ["training.freeze=encoder"])
    with pytest.raises(GvtzooError, match="is a care_unet: train a fnet from the beginning"):
        finetuning_recipe(config, ["network=fnet"])
