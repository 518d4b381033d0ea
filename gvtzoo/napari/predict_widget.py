"""The widget that predicts a layer: a preview of what is seen, or all of it exactly."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QFormLayout,
    QGridLayout,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.lazy import LazyImage
from gvtzoo.napari.choices import misfits
from gvtzoo.napari.files import write_layer
from gvtzoo.napari.job import Job
from gvtzoo.napari.layers import guess_axes, image_of, layer_of, visible_region
from gvtzoo.napari.model_list import ModelList
from gvtzoo.napari.text import plain_label
from gvtzoo.napari.work import Result, has_uncertainty, predict_image, predict_region
from gvtzoo.prediction.part import uncut_axes
from gvtzoo.prediction.settings import Settings

if TYPE_CHECKING:
    import napari
    from napari.layers import Image

    from gvtzoo.bioimageio.model import BioimageioModel
    from gvtzoo.prediction.model import Model


@dataclass(frozen=True)
class Wanted:
    """What the controls say when a button is pressed.

    Attributes
    ----------
    layer : napari.layers.Image
    image : LazyImage
    axes : str
        Of the layer.
    model : str
    uncertainty : bool
    settings : Settings
    """

    layer: Image
    image: LazyImage
    axes: str
    model: str
    uncertainty: bool
    settings: Settings


@dataclass(frozen=True)
class Predicted:
    """Results, the region that they show, and what to say of them."""

    results: list[Result]
    region: Mapping[str, slice] | None
    message: str


class PredictWidget(QWidget):
    """Choose a model and a layer, look at a preview, predict.

    Parameters
    ----------
    napari_viewer : napari.Viewer
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.job: Job | None = None
        self._models: dict[str, Model | BioimageioModel] = {}
        self._results = tempfile.TemporaryDirectory(prefix="gvtzoo-napari-")
        self.destroyed.connect(self._results.cleanup)
        self._build()
        for event in (self.viewer.layers.events.inserted, self.viewer.layers.events.removed):
            event.connect(self._list_layers)
        self._list_layers()

    def _build(self) -> None:
        self.models = ModelList()
        self.layer = QComboBox()
        self.layer.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.axes = QLineEdit()
        self.axes.setToolTip("One letter for each axis: T time, P position, C channel, Z Y X")
        self.channel = QSpinBox()
        self.channel.setMaximum(0)
        self.fit = plain_label()
        self.fit.setWordWrap(True)
        self.uncertainty = QCheckBox("σ too, the error that the network expects")
        self.device = QComboBox()
        self.device.addItems(["auto", "cpu", "cuda", "mps"])
        self.preview = QPushButton("Preview")
        self.preview.setToolTip("The part on the screen, as if it were an image of its own")
        self.predict = QPushButton("Predict")
        self.cancel = QPushButton("Cancel")
        self.save = QPushButton("Save layer…")
        self.bar = QProgressBar()
        self.message = plain_label()
        self.message.setWordWrap(True)
        form = QFormLayout()
        for label, control in (
            ("Image", self.layer),
            ("Axes", self.axes),
            ("Channel", self.channel),
            ("Device", self.device),
        ):
            form.addRow(label, control)
        buttons = QGridLayout()
        for number, button in enumerate((self.preview, self.predict, self.cancel, self.save)):
            buttons.addWidget(button, *divmod(number, 2))
        layout = QVBoxLayout(self)
        layout.addWidget(self.models)
        layout.addLayout(form)
        layout.addWidget(self.fit)
        layout.addWidget(self.uncertainty)
        layout.addLayout(buttons)
        layout.addWidget(self.bar)
        layout.addWidget(self.message)
        self.layer.currentIndexChanged.connect(self._layer_changed)
        self.axes.editingFinished.connect(self._check_fit)
        self.models.changed.connect(self._check_fit)
        self.preview.clicked.connect(self.start_preview)
        self.predict.clicked.connect(self.start_prediction)
        self.cancel.clicked.connect(self._cancel)
        self.save.clicked.connect(self._save)
        self._set_busy(False)

    def start_preview(self) -> None:
        """Predict the part of the layer that is on the screen."""
        wanted = self._wanted()
        if wanted is None:
            return
        corners = wanted.layer.corner_pixels
        step = self._step(wanted.layer)
        displayed = self._displayed(wanted.layer)

        def work(job: Job) -> Predicted:
            model = self._load(wanted.model)
            names = list(wanted.image.dims)
            kept = [n for n, axis in enumerate(wanted.axes) if axis in names]
            region = visible_region(
                wanted.image,
                corners[:, kept],
                [step[n] for n in kept],
                [kept.index(n) for n in displayed if n in kept],
                spatial=model.axes,
                whole=uncut_axes(model),
            )
            results = predict_region(
                model,
                wanted.image,
                region,
                wanted.settings,
                uncertainty=wanted.uncertainty and has_uncertainty(model),
                stop=job.stop,
                report=lambda done, total: job.tell((done, total)),
            )
            return Predicted(
                results, region, "A preview: Predict takes into account the whole image, too."
            )

        self._start(work, wanted, "preview")

    def start_prediction(self) -> None:
        """Predict all of the layer."""
        wanted = self._wanted()
        if wanted is None:
            return
        folder = Path(self._results.name)

        def work(job: Job) -> Predicted:
            model = self._load(wanted.model)
            results = predict_image(
                model,
                wanted.image,
                wanted.settings,
                uncertainty=wanted.uncertainty and has_uncertainty(model),
                stop=job.stop,
                folder=folder,
                report=lambda done, total: job.tell((done, total)),
            )
            asked_in_vain = wanted.uncertainty and not has_uncertainty(model)
            note = " The model gives no σ." if asked_in_vain else ""
            return Predicted(results, None, f"Done.{note} Save layer… keeps it.")

        self._start(work, wanted, "prediction")

    def _start(self, work: Any, wanted: Wanted, kind: str) -> None:
        job = Job(work, self)
        self.job = job
        self._wanted_now, self._kind = wanted, kind
        job.progressed.connect(self._progressed)
        job.succeeded.connect(self._succeeded)
        job.failed.connect(self._failed)
        job.cancelled.connect(self._cancelled)
        self._set_busy(True)
        self.message.setText("")
        job.start()

    def _load(self, name: str) -> Model | BioimageioModel:
        from gvtzoo.hub.load import load

        if name not in self._models:
            self._models[name] = load(name)
        return self._models[name]

    def _wanted(self) -> Wanted | None:
        layer, choice = self._current_layer(), self.models.choice
        if layer is None or choice is None:
            self.message.setText("Open an image first, such as File › Open Sample › gvtzoo.")
            return None
        axes = self.axes.text().strip().lower() or guess_axes(layer)
        try:
            image = image_of(layer, axes, self._chosen_channel(layer, axes))
            settings = Settings(device=self.device.currentText())
        except GvtzooError as error:
            self.message.setText(str(error))
            return None
        return Wanted(layer, image, axes, choice.name, self.uncertainty.isChecked(), settings)

    def _chosen_channel(self, layer: Image, axes: str) -> int | None:
        """None where the model takes all."""
        if "c" not in axes:
            return None
        choice = self.models.choice
        model = None if choice is None else self._models.get(choice.name)
        if model is not None and "c" in model.axes and "z" not in axes:
            return None
        return self.channel.value()

    def _current_layer(self) -> Image | None:
        name = self.layer.currentText()
        found = [layer for layer in self.viewer.layers if layer.name == name]
        return found[0] if found else None

    def _list_layers(self) -> None:
        from napari.layers import Image

        before = self.layer.currentText()
        names = [layer.name for layer in self.viewer.layers if isinstance(layer, Image)]
        self.layer.blockSignals(True)
        self.layer.clear()
        self.layer.addItems(names)
        if before in names:
            self.layer.setCurrentText(before)
        self.layer.blockSignals(False)
        if self.layer.currentText() != before:
            self._layer_changed()

    def _layer_changed(self) -> None:
        layer = self._current_layer()
        axes = "" if layer is None else guess_axes(layer)
        self.axes.setText(axes.upper())
        if layer is not None and "c" in axes:
            data = layer.data[0] if layer.multiscale else layer.data
            self.channel.setMaximum(data.shape[axes.index("c")] - 1)
        self.channel.setEnabled("c" in axes)
        self._check_fit()

    def _check_fit(self) -> None:
        """Say at once whether the model suits the layer, loading it in a thread."""
        layer, choice = self._current_layer(), self.models.choice
        self.fit.setText("")
        if layer is None or choice is None or self.job is not None:
            return
        if not choice.ready:
            self.fit.setText("It is downloaded when you use it.")
            return
        wanted = self._wanted()
        if wanted is None:
            return

        def work(job: Job) -> tuple[str, list[str]]:
            try:
                return wanted.model, misfits(self._load(wanted.model), wanted.image)
            except GvtzooError as error:
                return wanted.model, [str(error)]

        checking = Job(work, self)
        checking.succeeded.connect(self._tell_fit)
        checking.failed.connect(self.fit.setText)
        self._checking = checking
        checking.start()

    def _tell_fit(self, found: tuple[str, list[str]]) -> None:
        name, problems = found
        choice = self.models.choice
        if choice is None or choice.name != name:
            return  # another one has been chosen since
        self.uncertainty.setEnabled(
            has_uncertainty(self._models[name]) if name in self._models else True
        )
        text = "It fits this image." if not problems else f"Careful: {'; '.join(problems)}."
        self.fit.setText(text)

    def _step(self, layer: Image) -> list[int]:
        """Where the sliders stand, in voxels of the layer."""
        point = layer.world_to_data(self.viewer.dims.point)
        return [round(float(at)) for at in point][-layer.ndim :]

    def _displayed(self, layer: Image) -> list[int]:
        extra = self.viewer.dims.ndim - layer.ndim
        return [axis - extra for axis in self.viewer.dims.displayed if axis >= extra]

    def _progressed(self, news: tuple[int, int]) -> None:
        done, total = news
        self.bar.setRange(0, max(total, 1))
        self.bar.setValue(done)

    def _succeeded(self, found: Predicted) -> None:
        wanted, kind = self._wanted_now, self._kind
        self._finish(found.message)
        for number, result in enumerate(found.results):
            what = f"{kind} σ" if number else kind
            name = f"{wanted.layer.name} · {what}"
            if kind == "preview" and name in self.viewer.layers:
                self.viewer.layers.remove(name)
            values, settings = layer_of(result, name, wanted.layer, wanted.axes, found.region)
            colormap = "magma" if number else wanted.layer.colormap.name
            self.viewer.add_image(values, colormap=colormap, visible=number == 0, **settings)

    def _failed(self, text: str) -> None:
        self._finish(text)

    def _cancelled(self) -> None:
        self._finish("Cancelled; nothing was changed.")

    def _finish(self, text: str) -> None:
        self.job = None
        self._set_busy(False)
        self.message.setText(text)

    def _cancel(self) -> None:
        if self.job is not None:
            self.job.cancel()
            self.message.setText("Cancelling…")

    def _set_busy(self, busy: bool) -> None:
        for button in (self.preview, self.predict, self.models, self.layer, self.axes):
            button.setEnabled(not busy)
        self.cancel.setEnabled(busy)
        self.bar.setVisible(busy)
        self.bar.setRange(0, 0)

    def _save(self) -> None:
        layer = self.viewer.layers.selection.active
        if layer is None:
            self.message.setText("Select the layer to be saved in the list of layers.")
            return
        path, _ = QFileDialog.getSaveFileName(
            self, "Save layer", f"{layer.name}.tif", "TIFF (*.tif);;OME-Zarr (*.zarr);;npy (*.npy)"
        )
        if path:
            self.save_layer(layer, path)

    def save_layer(self, layer: Image, path: str) -> None:
        """Write a layer with its axes, voxel size and unit, and say so, or why not."""
        data, settings, _ = layer.as_layer_data_tuple()
        try:
            write_layer(path, data, settings)
        except (GvtzooError, OSError) as error:
            self.message.setText(str(error))
            return
        self.message.setText(f"Saved as {path}")
