"""``gvtzoo evaluate`` from models and images to a report."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import tifffile
from command_line import run
from small_run import write_run

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.files import sha256_of

MODEL = "gvtnet-denoising-exposures"


@pytest.fixture
def data(tmp_path):
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64] / 8
    for number in range(3):
        truth = 100 + 60 * np.sin(y + number) * np.cos(x)
        images = {
            "target": truth,
            "source": generator.poisson(truth / 4) * 4,
            "dimmer": generator.poisson(truth / 16) * 16,
        }
        for kind, image in images.items():
            path = tmp_path / "data" / kind / f"{number}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(path, image.astype(np.uint16), imagej=True, metadata={"axes": "YX"})
    return tmp_path / "data"


def test_a_report(tmp_path, data):
    report = tmp_path / "report"
    options = ["--data", data, "-o", report, "--device", "cpu", "--input"]
    result = run("evaluate", MODEL, f"whole={MODEL}", *options, "--tiling", "whole")
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert lines[0] == ["model", "images", "n", "r", "nrmse", "psnr", "ssim", "mse", "mae", "r2"]
    assert [line[0] for line in lines[1:4]] == [MODEL, "whole", "input"]
    assert f"{MODEL} is better than input in SSIM" in result.stdout
    assert "input: what it was trained on" not in result.stdout
    assert str(report / "index.html") in result.stderr
    rows = list(csv.DictReader((report / "metrics.csv").open()))
    assert len(rows) == 9
    same = [row for row in rows if row["image"] == "0" and row["model"] != "input"]
    assert same[0]["ssim"] == same[1]["ssim"]
    page = (report / "index.html").read_text(encoding="utf-8")
    assert "whole" in page
    assert "<img" in page
    assert {path.name for path in (report / "predictions").iterdir()} == {MODEL, "whole"}


def test_it_is_repeated_without_predicting(tmp_path, data):
    report = tmp_path / "report"
    options = ["--data", data, "-o", report, "--device", "cpu"]
    first = run("evaluate", MODEL, *options)
    files = sorted((report / "predictions").rglob("*.tif"))
    times = [path.stat().st_mtime_ns for path in files]
    assert len(files) == 3
    assert run("evaluate", MODEL, *options).stdout == first.stdout
    assert [path.stat().st_mtime_ns for path in files] == times
    with pytest.raises(GvtzooError, match="holds an evaluation of other models"):
        run("evaluate", MODEL, *options, "--input")
    run("evaluate", MODEL, *options, "--input", "--overwrite")
    assert [path.stat().st_mtime_ns for path in files] == times


def test_conditions_as_json(tmp_path, data):
    options = ["--data", data, "-o", tmp_path / "report", "--conditions", "source,dimmer"]
    result = run("evaluate", MODEL, *options, "--json", "--device", "cpu")
    found = json.loads(result.stdout)
    assert {row["condition"] for row in found["results"]} == {"source", "dimmer"}
    means = {row["condition"]: row["mean"] for row in found["summaries"] if row["metric"] == "ssim"}
    assert means["source"] > means["dimmer"]
    assert (tmp_path / "report" / "evaluation.json").read_text() == result.stdout


def test_json_is_pure_where_an_image_is_left_out(tmp_path, data, caplog):
    tifffile.imwrite(data / "source" / "1.tif", np.zeros((64, 32), np.uint16))
    options = ["--data", data, "-o", tmp_path / "report", "--json"]
    found = json.loads(run("evaluate", f"noisy={data / 'source'}", *options).stdout)
    assert [row["image"] for row in found["results"]] == ["0", "2"]
    assert found["models"] == ["noisy"]
    assert [record.message.split(":")[0] for record in caplog.records] == ["1 is left out"]


def test_a_recipes_own_images(tmp_path):
    y, x = np.mgrid[:40, :48] / 8
    stack = np.stack([1000 + 900 * np.sin(y + z / 4) * np.cos(x) for z in range(12)])
    (tmp_path / "clean").mkdir()
    path = tmp_path / "clean" / "blobs.tif"
    tifffile.imwrite(path, stack.astype(np.uint16), imagej=True, metadata={"axes": "ZYX"})
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "extends: denoising/nuclei\nname: mine\n"
        "data: {noise: {photons: [5, 20]}, regions: {test: {y: [0, 32]}}}\n"
    )
    report = tmp_path / "report"
    options = ["--data", tmp_path / "clean", "--recipe", recipe, "-o", report, "--device", "cpu"]
    result = run("evaluate", "gvtnet-denoising-nuclei", *options, "--json", "--resolution")
    found = json.loads(result.stdout)
    assert [row["condition"] for row in found["results"]] == ["5 photons", "20 photons"]
    assert all("resolution" in row["metrics"] for row in found["results"])
    assert {row["condition"] for row in found["calibrations"]} == {"5 photons", "20 photons"}
    assert all((report / row["sigma"]).is_file() for row in found["results"])


def test_a_mistake_does_not_take_the_folder(tmp_path, data):
    options = ["--data", data, "-o", tmp_path / "report"]
    with pytest.raises(GvtzooError, match="two models are called"):
        run("evaluate", MODEL, MODEL, *options)
    with pytest.raises(GvtzooError, match="no-such"):
        run("evaluate", MODEL, "--recipe", "no-such", *options)
    assert not (tmp_path / "report").exists()


def test_a_failed_evaluation_does_not_stand_in_the_way_of_the_corrected_one(tmp_path, data):
    options = ["--data", data, "-o", tmp_path / "report", "--device", "cpu"]
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    with pytest.raises(GvtzooError, match="none of the 3 images"):
        run("evaluate", f"mine={wrong}", *options)
    result = run("evaluate", f"mine={data / 'source'}", *options)
    assert (tmp_path / "report" / "index.html").is_file()
    assert result.stdout.splitlines()[1].startswith("mine\tall\t3")


def test_images_that_a_run_was_trained_on_are_marked(tmp_path, data):
    folder = write_run(tmp_path / "tuned")
    used = {
        use: {"files": [{"path": "/elsewhere/a.tif", "sha256": sha256_of(data / kind)}]}
        for use, kind in (("train", "source/0.tif"), ("val", "target/1.tif"))
    }
    (folder / "data.json").write_text(json.dumps(used))
    options = ["--data", data, "-o", tmp_path / "report", "--device", "cpu", "--input"]
    result = run("evaluate", folder, *options)
    assert "what it was trained on is not known" not in result.stdout
    assert "tuned: it was trained on 1 of the 3 images (0)" in result.stdout
    assert "tuned: its weights were chosen by 1 of the 3 images (1)" in result.stdout
    rows = list(csv.DictReader((tmp_path / "report" / "metrics.csv").open()))
    assert {(row["model"], row["image"]): row["seen"] for row in rows if row["seen"]} == {
        ("tuned", "0"): "train",
        ("tuned", "1"): "val",
    }
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "Seen before" in page
    found = json.loads((tmp_path / "report" / "evaluation.json").read_text())
    assert found["weights"] == {"tuned": sha256_of(folder / "best.safetensors")}


def test_other_files_are_not_touched(tmp_path, data):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "index.html").write_text("mine")
    with pytest.raises(GvtzooError, match="holds other files"):
        run("evaluate", MODEL, "--data", data, "-o", tmp_path / "report")
    assert (tmp_path / "report" / "index.html").read_text() == "mine"
