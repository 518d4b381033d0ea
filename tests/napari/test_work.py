"""Predicting, stopping and fine-tuning in a thread, without a window."""

from __future__ import annotations

import threading

import dask.array
import numpy as np
import pytest
import small_package
import torch
from napari_layers import PlainLayer

from gvtzoo.core.errors import GvtzooError
from gvtzoo.hub.load import load_own
from gvtzoo.napari.choices import choices, misfits
from gvtzoo.napari.layers import image_of
from gvtzoo.napari.work import (
    StoppedError,
    finetune_on,
    predict_image,
    predict_region,
    stoppable,
)
from gvtzoo.prediction.settings import Settings

NUCLEI = "gvtnet-denoising-nuclei"
CPU = Settings(device="cpu")


@pytest.fixture(scope="module")
def nuclei():
    return load_own(NUCLEI)


def test_a_lazy_layer_predicts_as_the_one_in_memory(nuclei, stack, tmp_path):
    lazy = image_of(PlainLayer(dask.array.from_array(stack, chunks=(4, 16, 16))))
    loaded = image_of(PlainLayer(stack))
    arguments = {"uncertainty": True, "stop": threading.Event(), "folder": tmp_path}
    for here, there in zip(
        predict_image(nuclei, loaded, CPU, **arguments),
        predict_image(nuclei, lazy, CPU, **arguments),
        strict=True,
    ):
        assert not isinstance(there.array, np.ndarray)
        np.testing.assert_allclose(there.load(), here, rtol=1e-4, atol=1e-3)


def test_a_preview_is_the_prediction_of_the_part(nuclei, stack):
    region = {"z": slice(0, 8), "y": slice(4, 20), "x": slice(8, 24)}
    (found,) = predict_region(
        nuclei,
        image_of(PlainLayer(stack)),
        region,
        CPU,
        uncertainty=False,
        stop=threading.Event(),
    )
    expected = nuclei.predict(stack[:, 4:20, 8:24], axes="ZYX", device="cpu")
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_the_network_stops_between_two_operations():
    stop = threading.Event()
    done = []

    class Layer(torch.nn.Module):
        def forward(self, x):
            done.append(1)
            if len(done) == 3:
                stop.set()  # as if the user pressed Cancel now
            return torch.relu(x)

    with pytest.raises(StoppedError), stoppable(stop):
        torch.nn.Sequential(*(Layer() for _ in range(10)))(torch.zeros(1))
    assert len(done) == 3


@pytest.mark.parametrize("lazy", [False, True])
def test_cancelling_leaves_nothing_behind(nuclei, stack, tmp_path, lazy):
    stop = threading.Event()
    stop.set()
    data = dask.array.from_array(stack) if lazy else stack
    with pytest.raises(StoppedError):
        predict_image(
            nuclei,
            image_of(PlainLayer(data)),
            CPU,
            uncertainty=False,
            stop=stop,
            folder=tmp_path,
        )
    assert not list(tmp_path.iterdir())


def test_every_model_of_the_list_has_a_purpose():
    found = choices()
    assert found[0].ready
    assert all(choice.purpose for choice in found)
    assert all(choice.picture for choice in found if choice.ready)
    assert all(choice.size for choice in found if not choice.ready)


def test_fit_is_said(nuclei, stack):
    good = PlainLayer(stack, scale=[0.29, 0.26, 0.26], units=("micrometer",) * 3)
    coarse = PlainLayer(stack, scale=[0.29, 1.3, 1.3], units=("micrometer",) * 3)
    assert misfits(nuclei, image_of(good)) == []
    assert any("1.3 µm" in line for line in misfits(nuclei, image_of(coarse)))
    assert any("single plane" in line for line in misfits(nuclei, image_of(PlainLayer(stack[0]))))
    with pytest.raises(GvtzooError, match="axes"):
        misfits(nuclei, image_of(PlainLayer(stack), "cyx"))


@pytest.fixture
def small(tmp_path):
    """A package of a small 2D network."""
    return small_package.write_folder(tmp_path / "small", small_package.members())


def test_fine_tuning_makes_a_package_and_reports_every_step(small, tmp_path):
    y, x = np.mgrid[:48, :48]
    clean = 200 + 100 * np.sin(y / 4) * np.cos(x / 5)  # as tests of fine-tuning have it
    noisy = np.random.default_rng(1).poisson(clean).astype(np.uint16)
    seen = []
    tuned = finetune_on(
        small,
        [(image_of(PlainLayer(noisy)), image_of(PlainLayer(clean.astype(np.uint16))))],
        tmp_path / "tuned",
        steps=2,
        stop=threading.Event(),
        report=lambda step, total, loss: seen.append((step, total, loss)),
    )
    assert tuned.package.is_file()
    step, total, _ = seen[-1]
    assert step == total and total % 2 == 0  # lower rates are tried, too, where the first one fails
    assert set(tuned.result.before) == set(tuned.result.after)


def test_fine_tuning_stops(small, stack, tmp_path):
    stop = threading.Event()
    pair = (image_of(PlainLayer(stack[0])), image_of(PlainLayer(stack[0])))
    with pytest.raises(StoppedError):
        finetune_on(
            small,
            [pair],
            tmp_path / "tuned",
            steps=50,
            stop=stop,
            report=lambda *_: stop.set(),
        )
    assert not (tmp_path / "tuned" / "model.zip").exists()


def test_fine_tuning_without_pairs_is_refused(tmp_path):
    with pytest.raises(GvtzooError, match="pair"):
        finetune_on(NUCLEI, [], tmp_path, steps=1, stop=threading.Event())
