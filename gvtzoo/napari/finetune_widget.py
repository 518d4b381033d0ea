"""The widget that fine-tunes a model on pairs of layers."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.figure import Figure
from qtpy.QtCore import Qt
from qtpy.QtGui import QPixmap
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QProgressBar,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from gvtzoo.core.errors import GvtzooError
from gvtzoo.napari.choices import package_choice
from gvtzoo.napari.job import Job
from gvtzoo.napari.layers import image_of
from gvtzoo.napari.model_list import ModelList
from gvtzoo.napari.text import plain_label
from gvtzoo.napari.work import TunedModel, finetune_on

if TYPE_CHECKING:
    import napari
    from napari.layers import Image

PICTURE_WIDTH = 380  # pixels
STEPS = 600  # as of `gvtzoo.training.finetune`, whose import takes seconds


class FinetuneWidget(QWidget):
    """Pairs of layers, a live loss curve, and the model before and after.

    Parameters
    ----------
    napari_viewer : napari.Viewer
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.job: Job | None = None
        self.losses: list[tuple[int, float]] = []
        self._pairs: list[tuple[str, str]] = []  # by row
        self._build()
        for event in (self.viewer.layers.events.inserted, self.viewer.layers.events.removed):
            event.connect(self._list_layers)
        self._list_layers()

    def _build(self) -> None:
        self.models = ModelList()
        self.source, self.target = QComboBox(), QComboBox()
        self.add, self.drop = QPushButton("Add pair"), QPushButton("Remove pair")
        self.pairs = QListWidget()
        self.pairs.setMaximumHeight(80)
        self.pairs.setAccessibleName("Pairs of layers")
        self.steps = QSpinBox()
        self.steps.setRange(1, 100_000)
        self.steps.setValue(STEPS)
        self.folder = QLineEdit()
        self.folder.setPlaceholderText("a new folder for the run and the model")
        self.browse = QPushButton("…")
        self.start, self.cancel = QPushButton("Fine-tune"), QPushButton("Cancel")
        self.bar = QProgressBar()
        self.figure = Figure(figsize=(3.8, 1.8), layout="constrained")
        self.canvas = FigureCanvasQTAgg(self.figure)
        self.canvas.setMinimumHeight(150)
        self.curve = self.figure.subplots()
        self.message, self.picture = plain_label(), QLabel()
        self.message.setWordWrap(True)
        place = QHBoxLayout()
        place.addWidget(self.folder)
        place.addWidget(self.browse)
        form = QFormLayout()
        form.addRow("Microscope gives", self.source)
        form.addRow("Wanted", self.target)
        form.addRow(self.add, self.drop)
        form.addRow("Steps at most", self.steps)
        form.addRow("Folder", place)
        buttons = QHBoxLayout()
        buttons.addWidget(self.start)
        buttons.addWidget(self.cancel)
        layout = QVBoxLayout(self)
        layout.addWidget(self.models)
        layout.addLayout(form)
        layout.addWidget(self.pairs)
        layout.addLayout(buttons)
        for part in (self.bar, self.canvas, self.message, self.picture):
            layout.addWidget(part)
        self.add.clicked.connect(self.add_pair)
        self.drop.clicked.connect(self.drop_pair)
        self.browse.clicked.connect(self._ask)
        self.start.clicked.connect(self.start_training)
        self.cancel.clicked.connect(self._cancel)
        self._set_busy(False)

    def add_pair(self) -> None:
        """Take the two chosen layers as a pair."""
        names = self.source.currentText(), self.target.currentText()
        if not all(names) or names[0] == names[1]:
            self.message.setText("Choose two layers: what the microscope gives, and what is wanted")
            return
        self._pairs.append(names)
        self.pairs.addItem(" → ".join(names))

    def drop_pair(self) -> None:
        """Take the selected pair, or the last, out of the list."""
        if self._pairs:
            row = self.pairs.currentRow()
            del self._pairs[row]
            self.pairs.takeItem(row if row >= 0 else self.pairs.count() - 1)

    def start_training(self) -> None:
        """Fine-tune on the pairs of the list."""
        choice = self.models.choice
        if choice is None:
            return
        try:
            pairs = [
                (image_of(self._layer(first)), image_of(self._layer(second)))
                for first, second in self._pairs
            ]
        except GvtzooError as error:
            self.message.setText(str(error))
            return
        text = self.folder.text().strip()
        folder = Path(text) if text else Path(tempfile.mkdtemp(prefix="gvtzoo-tuned-"))
        self.folder.setText(str(folder))
        model, steps = choice.name, self.steps.value()
        self.losses.clear()
        self.picture.clear()

        def work(job: Job) -> TunedModel:
            return finetune_on(
                model,
                pairs,
                folder,
                steps=steps,
                stop=job.stop,
                report=lambda step, total, loss: job.tell((step, total, loss)),
            )

        self.job = Job(work, self)
        self.job.progressed.connect(self._progressed)
        self.job.succeeded.connect(self._succeeded)
        self.job.failed.connect(self._finish)
        self.job.cancelled.connect(self._cancelled)
        self._set_busy(True)
        self.message.setText("")
        self.job.start()

    def _layer(self, name: str) -> Image:
        if name not in self.viewer.layers:
            raise GvtzooError(f"there is no layer {name!r} any more: remove its pair")
        return self.viewer.layers[name]

    def _list_layers(self) -> None:
        from napari.layers import Image

        names = [layer.name for layer in self.viewer.layers if isinstance(layer, Image)]
        for box in (self.source, self.target):
            before = box.currentText()
            box.clear()
            box.addItems(names)
            box.setCurrentText(before if before in names else names[0] if names else "")

    def _progressed(self, news: tuple[int, int, float]) -> None:
        step, total, loss = news
        self.bar.setRange(0, total)
        self.bar.setValue(step)
        if self.losses and step <= self.losses[-1][0]:
            self.losses.clear()  # a trial of a learning rate has ended, and the next begins
        self.losses.append((step, loss))
        if step % max(1, total // 50) == 0 or step == total:
            self._draw()

    def _draw(self) -> None:
        self.curve.clear()
        self.curve.plot(*zip(*self.losses, strict=True), color="#0072b2", linewidth=1)
        self.curve.set_xlabel("step")
        self.curve.set_ylabel("loss")
        self.canvas.draw_idle()

    def _succeeded(self, tuned: TunedModel) -> None:
        result = tuned.result
        changes = ", ".join(
            f"{name} {before:.3f} → {result.after[name]:.3f}"
            for name, before in result.before.items()
        )
        verdict = (
            "It has become better, and is in the list of models."
            if result.helped
            else "It is not better than before: keep the original, or add pairs."
        )
        self._finish(f"{verdict}\n{changes}\n({result.validation})\n{tuned.package}")
        picture = QPixmap(str(result.picture))
        self.picture.setPixmap(
            picture.scaledToWidth(PICTURE_WIDTH, Qt.TransformationMode.SmoothTransformation)
        )
        if result.helped:
            self.models.add(package_choice(tuned.package))

    def _cancelled(self) -> None:
        self._finish("Cancelled.")

    def _finish(self, text: str) -> None:
        self.job = None
        self._set_busy(False)
        self.message.setText(text)

    def _cancel(self) -> None:
        if self.job is not None:
            self.job.cancel()
            self.message.setText("Cancelling…")

    def _set_busy(self, busy: bool) -> None:
        self.start.setEnabled(not busy)
        self.cancel.setEnabled(busy)
        self.bar.setVisible(busy)
        self.bar.setRange(0, 0)

    def _ask(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder for the run and the model")
        if folder:
            self.folder.setText(folder)
