"""``gvtzoo sweep`` and ``gvtzoo transfer``."""

from __future__ import annotations

import csv
import shutil

import numpy as np
import pytest
import tifffile
from command_line import run

from gvtzoo.core.errors import GvtzooError
from gvtzoo.evaluation.folder import read_result
from gvtzoo.packages.reader import open_package

MODEL = "gvtnet-denoising-exposures"


@pytest.fixture
def pairs(tmp_path):
    """Four small images that are smooth, and the same with noise."""
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:96, :96] / 16
    for kind in ("source", "target"):
        (tmp_path / "data" / kind).mkdir(parents=True)
    for number in range(4):
        truth = 100 + 40 * np.sin(y + number) * np.cos(x)
        noisy = generator.poisson(truth / 2) * 2
        for kind, image in (("source", noisy), ("target", truth)):
            path = tmp_path / "data" / kind / f"{number}.tif"
            tifffile.imwrite(path, image.astype(np.uint8), imagej=True, metadata={"axes": "YX"})
    return tmp_path / "data"


def test_sweep(tmp_path, pairs):
    package = tmp_path / "hinted.zip"
    output = tmp_path / "sweep"
    options = ["--data", pairs, "-o", output, "--images", 2, "--device", "cpu"]
    result = run(
        "sweep", MODEL, *options, "--tile", "32,32", "--tile", "64,64", "--package", package
    )
    lines = result.stdout.splitlines()
    assert [line.split("\t")[:2] for line in lines[1:]] == [
        *([method, tile] for method in ("halo", "blocks", "exact") for tile in ("32×32", "64×64")),
        ["whole", "whole"],
    ]
    rows = list(csv.DictReader((output / "sweep.csv").open()))
    assert {row["images"] for row in rows} == {"2"}
    by_place = {(row["method"], row["tile"]): row for row in rows}
    exact, whole = by_place["exact", "32x32"], by_place["whole", "whole"]
    assert float(exact["ssim"]) == pytest.approx(float(whole["ssim"]), abs=1e-5)
    assert float(exact["largest_difference"]) < 1e-4
    halo = by_place["halo", "32x32"]
    assert float(halo["largest_difference"]) > 1e-4
    assert (output / "sweep.png").read_bytes().startswith(b"\x89PNG")
    hint = open_package(package).config.tiling
    chosen = by_place["halo", "x".join(map(str, hint.tile))]
    assert hint.pearson_r == pytest.approx(float(chosen["r_with_whole"]))


def test_a_sweep_is_not_overwritten(tmp_path, pairs):
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "sweep.csv").write_text("mine")
    with pytest.raises(GvtzooError, match=r"sweep\.csv exists"):
        run("sweep", MODEL, "--data", pairs, "-o", tmp_path / "sweep")
    assert (tmp_path / "sweep" / "sweep.csv").read_text() == "mine"


def test_transfer(tmp_path, pairs):
    shutil.copytree(pairs, tmp_path / "other")
    output = tmp_path / "transfer"
    result = run(
        "transfer", MODEL, f"noisy={pairs / 'source'}",
        "--data", f"first={pairs}", "--data", f"second={tmp_path / 'other'}", "-o", output,
    )  # fmt: skip
    assert result.stdout.splitlines()[0].split("\t") == ["ssim", "first", "second"]
    (header, *rows) = csv.reader((output / "transfer_ssim.csv").open())
    assert header == ["ssim", "first", "second"]
    assert [row[0] for row in rows] == [MODEL, "noisy"]
    assert all(row[1] == row[2] for row in rows)
    evaluation = read_result(output)
    assert evaluation.structures == ("first", "second")
    mean = np.mean([row.metrics["ssim"] for row in evaluation.of(MODEL, None, "first")])
    assert float(rows[0][1]) == pytest.approx(mean, abs=1e-4)
    assert (output / "index.html").is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "nowhere"], "is not of the form NAME=VALUE"),
        (["--data", "a=x", "--data", "a=y"], "names a twice"),
        (["--data", "a=x", "--recipe", "b=denoising/nuclei"], "b, which is no data set"),
    ],
)
def test_wrong_names_are_refused(tmp_path, options, message):
    with pytest.raises(GvtzooError, match=message):
        run("transfer", MODEL, *options, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()
