"""The plugin in a real viewer."""

from __future__ import annotations

import importlib
from pathlib import Path

import dask.array
import numpy as np
import pytest
from napari_layers import wait_until

import gvtzoo.napari
from gvtzoo.images.files import read_image

pytestmark = pytest.mark.napari
NUCLEI = "gvtnet-denoising-nuclei"
SCALE = (0.29, 0.26, 0.26)


@pytest.fixture
def widget(viewer, stack):
    from gvtzoo.napari.predict_widget import PredictWidget

    viewer.add_image(stack, name="stack", scale=SCALE, units=("um",) * 3)
    widget = PredictWidget(viewer)
    viewer.window.add_dock_widget(widget, name="gvtzoo")
    widget.models.choose(NUCLEI)
    widget.device.setCurrentText("cpu")
    return widget


def finish(widget) -> None:
    wait_until(lambda: widget.job is None)


def test_the_manifest_names_what_there_is():
    from npe2 import PluginManifest

    manifest = PluginManifest.from_file(Path(gvtzoo.napari.__file__).parent / "napari.yaml")
    for command in manifest.contributions.commands:
        module, _, name = str(command.python_name).partition(":")
        assert callable(getattr(importlib.import_module(module), name))


def test_predict_adds_layers_at_the_same_place(widget, viewer):
    widget.uncertainty.setChecked(True)
    widget.predict.click()
    finish(widget)
    source, found = viewer.layers["stack"], viewer.layers["stack · prediction"]
    assert found.data.shape == source.data.shape
    assert tuple(found.scale) == SCALE
    assert [str(unit) for unit in found.units] == [str(unit) for unit in source.units]
    assert "stack · prediction σ" in viewer.layers


def test_preview_is_of_what_is_seen(widget, viewer):
    widget.preview.click()
    finish(widget)
    assert "stack · preview" in viewer.layers, widget.message.text()
    widget.preview.click()  # again: the old one goes
    finish(widget)
    assert sum("preview" in layer.name for layer in viewer.layers) == 1


def test_cancel_stops_and_says_so(widget, viewer):
    viewer.add_image(np.random.default_rng(0).random((32, 256, 256), np.float32), name="large")
    widget.layer.setCurrentText("large")
    widget.predict.click()
    assert widget.cancel.isEnabled()
    widget.cancel.click()
    wait_until(lambda: widget.job is None, seconds=30)
    assert "Cancelled" in widget.message.text()
    assert "large · prediction" not in viewer.layers
    assert widget.predict.isEnabled()


def test_an_error_is_said_and_the_widget_goes_on(widget, viewer):
    viewer.add_image(np.ones((8, 24, 32), np.float32), name="blank")
    widget.layer.setCurrentText("blank")
    widget.predict.click()
    finish(widget)
    assert "nothing to see" in widget.message.text()
    widget.layer.setCurrentText("stack")
    widget.predict.click()
    finish(widget)
    assert "stack · prediction" in viewer.layers


def test_axes_that_do_not_fit_are_said_at_once(widget):
    widget.axes.setText("YX")
    widget.predict.click()
    assert widget.job is None
    assert "3 axes" in widget.message.text()


def test_closing_the_window_stops_the_work(widget, viewer):
    viewer.add_image(np.random.default_rng(0).random((32, 256, 256), np.float32), name="large")
    widget.layer.setCurrentText("large")
    widget.predict.click()
    job = widget.job
    viewer.close()
    wait_until(job.stop.is_set, seconds=30)
    assert job.wait(30)


def test_a_time_series_of_dask_is_predicted_frame_by_frame(widget, viewer, stack):
    movie = dask.array.from_array(np.stack([stack, stack[::-1]]), chunks=(1, 8, 16, 16))
    viewer.add_image(movie, name="movie", scale=(1, *SCALE))
    widget.layer.setCurrentText("movie")
    assert widget.axes.text() == "TZYX"
    widget.predict.click()
    finish(widget)
    found = viewer.layers["movie · prediction"]
    assert found.data.shape == movie.shape
    assert not isinstance(found.data, np.ndarray)


def test_save_keeps_the_voxel_size(widget, viewer, tmp_path):
    widget.save_layer(viewer.layers["stack"], str(tmp_path / "saved.tif"))
    image = read_image(tmp_path / "saved.tif")
    assert image.attrs["pixel_size"] == pytest.approx(dict(zip("zyx", SCALE, strict=True)))
    assert image.attrs["unit"] == "micrometer"


def test_fit_is_said_at_once(widget, viewer, stack):
    wait_until(lambda: "fits" in widget.fit.text())
    viewer.add_image(stack, name="coarse", scale=(1, 3, 3), units=("um",) * 3)
    widget.layer.setCurrentText("coarse")
    wait_until(lambda: "3 µm" in widget.fit.text())


def test_as_many_steps_as_the_command_line_takes():
    from gvtzoo.napari import finetune_widget
    from gvtzoo.training import finetune

    assert finetune_widget.STEPS == finetune.STEPS


def test_fine_tuning_draws_its_losses_and_its_gain(viewer, stack, tmp_path):
    from gvtzoo.napari.finetune_widget import FinetuneWidget

    clean = np.full_like(stack, 20)
    clean[:, ::3, 4:12] = 60
    viewer.add_image(stack, name="noisy")
    viewer.add_image(clean, name="clean")
    widget = FinetuneWidget(viewer)
    viewer.window.add_dock_widget(widget, name="gvtzoo fine-tune")
    widget.models.choose(NUCLEI)
    widget.source.setCurrentText("noisy")
    widget.target.setCurrentText("clean")
    widget.add.click()
    widget.steps.setValue(3)
    widget.folder.setText(str(tmp_path / "tuned"))
    widget.start.click()
    finish(widget)
    assert "→" in widget.message.text()
    assert widget.losses
    assert not widget.picture.pixmap().isNull()
    assert (tmp_path / "tuned" / "model.zip").is_file()
