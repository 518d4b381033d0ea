"""Models are ranked without truth as they are with it."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from scipy.ndimage import gaussian_filter
from typer.testing import CliRunner

from gvtzoo.cli.main import app
from gvtzoo.evaluation.folder import read_result

MODEL = "gvtnet-denoising-exposures"


def noisy(path, frames: int, size: int = 48) -> None:
    generator = np.random.default_rng(0)
    smooth = gaussian_filter(generator.normal(size=(size, size)), 3)
    clean = 15 * np.clip(smooth / smooth.std() + 1, 0, None)
    images = generator.poisson(np.stack([clean] * frames)) + 100
    tifffile.imwrite(path, images.astype(np.uint16), imagej=True, metadata={"axes": "TYX"})


@pytest.mark.parametrize(("frames", "size", "pairs"), [(5, 48, 4), (1, 48, 1), (1, 128, 4)])
def test_predictions_are_measured_against_independent_noise(tmp_path, frames, size, pairs):
    noisy(tmp_path / "noisy.tif", frames, size)
    report = tmp_path / "report"
    images = ["--noisy", str(tmp_path / "noisy.tif")]
    arguments = ["evaluate", MODEL, *images, "-o", str(report), "--input"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found = read_result(report)
    assert found.metrics == ("r", "nrmse")
    means = {row.model: row for row in found.summaries if row.metric == "r"}
    assert means[MODEL].mean > means["input"].mean
    assert means["best Gaussian"].mean > means["input"].mean
    assert means["best Gaussian"].count == pairs
    if pairs > 1:
        assert means["best Gaussian"].low < means["best Gaussian"].mean
    assert "without truth" in (report / "index.html").read_text()


def test_data_and_noisy_images_exclude_each_other(tmp_path):
    arguments = ["evaluate", MODEL, "-o", str(tmp_path / "report")]
    assert CliRunner().invoke(app, arguments).exit_code == 2
