"""The demonstration shows a network that is worth having."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

from gvtzoo.cli.main import app
from gvtzoo.core.errors import GvtzooError
from gvtzoo.demo import MODEL, WHAT, run_demo
from gvtzoo.hub.registry import bundled_models
from gvtzoo.images.files import read_image
from gvtzoo.packages.reader import open_package


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return run_demo(tmp_path_factory.mktemp("demo") / "out", device="cpu")


def test_the_network_beats_its_input_clearly(result):
    noisy, denoised = result.metrics["noisy"], result.metrics["denoised"]
    assert denoised["ssim"] > 2 * noisy["ssim"]
    assert denoised["nrmse"] < 0.5 * noisy["nrmse"]


def test_files_are_there_and_fit_each_other(result):
    assert [path.name for path in result.files] == [
        "input.tif",
        "prediction.tif",
        "prediction_sigma.tif",
        "truth.tif",
        "demo.png",
    ]
    images = [read_image(path) for path in result.files[:4]]
    assert len({image.shape for image in images}) == 1
    assert all(image.attrs["pixel_size"] == images[0].attrs["pixel_size"] for image in images)


def test_sigma_says_how_far_off_the_prediction_is(result):
    _, prediction, sigma, truth = (read_image(path).to_numpy() for path in result.files[:4])
    error = np.abs(prediction - truth)
    sure, unsure = sigma < np.percentile(sigma, 25), sigma > np.percentile(sigma, 75)
    assert error[unsure].mean() > 1.5 * error[sure].mean()


def test_picture_is_not_blank(result):
    from matplotlib.image import imread

    picture = imread(result.files[-1])
    assert picture.shape[1] > 1000
    assert picture[..., :3].std() > 0.1


def test_a_second_demo_does_not_overwrite(result):
    with pytest.raises(GvtzooError, match="exists"):
        run_demo(result.files[0].parent, device="cpu")


def test_it_says_that_its_images_are_not_of_another_sample(result, tmp_path, monkeypatch):
    monkeypatch.setattr("gvtzoo.demo.run_demo", lambda *_, **__: result)
    done = CliRunner().invoke(app, ["demo", "-o", str(tmp_path)])
    assert done.stdout.splitlines()[0] == WHAT
    card = open_package(bundled_models()[MODEL]).config.metadata
    for rows in ("192 to 255", "rows 0 to 143"):
        assert rows in WHAT
        assert rows in card.data[0].split
    for words in ("simulated", "one stack"):
        assert words in card.limitations
