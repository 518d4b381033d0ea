"""The list to choose a model from, with pictures."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import QSize, Signal
from qtpy.QtGui import QIcon, QPixmap
from qtpy.QtWidgets import (
    QFileDialog,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from gvtzoo.core.errors import GvtzooError
from gvtzoo.napari.choices import Choice, choices, package_choice
from gvtzoo.napari.text import plain_label, tooltip

ICON = QSize(96, 64)
MEGABYTE = 10**6


class ModelList(QWidget):
    """Models with pictures; below, what the chosen one is for, and its limits."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._choices: list[Choice] = []  # by row
        self.list = QListWidget()
        self.list.setIconSize(ICON)
        self.list.setWordWrap(True)
        self.list.setMinimumHeight(170)
        self.list.setAccessibleName("Models")
        self.purpose = plain_label()
        self.purpose.setWordWrap(True)
        # As wide as the widget is: long texts would make it wider.
        self.purpose.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.open = QPushButton("Open a package…")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for part in (self.list, self.purpose, self.open):
            layout.addWidget(part)
        for choice in choices():
            self.add(choice)
        self.list.currentItemChanged.connect(self._tell)
        self.open.clicked.connect(self._ask)
        self.list.setCurrentRow(0)

    @property
    def choice(self) -> Choice | None:
        """The chosen one."""
        row = self.list.currentRow()
        return self._choices[row] if row >= 0 else None

    def add(self, choice: Choice, *, select: bool = False) -> None:
        """Put a model at the end."""
        wait = "" if choice.size is None else f"\n{choice.size / MEGABYTE:.0f} MB to download"
        item = QListWidgetItem(f"{choice.title}{wait}")
        item.setToolTip(tooltip(choice.purpose))
        if choice.picture:
            picture = QPixmap()
            picture.loadFromData(choice.picture)
            item.setIcon(QIcon(picture))
        self._choices.append(choice)
        self.list.addItem(item)
        if select:
            self.list.setCurrentItem(item)

    def choose(self, name: str) -> None:
        """Choose a model by the name that it is loaded by.

        Raises
        ------
        GvtzooError
            When the list does not have it.
        """
        names = [choice.name for choice in self._choices]
        if name not in names:
            raise GvtzooError(f"there is no model {name!r} in the list")
        self.list.setCurrentRow(names.index(name))

    def _tell(self) -> None:
        choice = self.choice
        if choice is not None:
            limits = f"\n\nLimits: {choice.limits}" if choice.limits else ""
            self.purpose.setText(f"{choice.purpose}{limits}")
        self.changed.emit()

    def _ask(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Open a package", "", "Packages (*.zip)")
        if not path:
            return
        try:
            self.add(package_choice(Path(path)), select=True)
        except GvtzooError as error:
            self.purpose.setText(str(error))
