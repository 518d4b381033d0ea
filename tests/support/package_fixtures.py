"""Packages that tests share: made once, read by many."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from small_networks import FLAT

from gvtzoo.images.normalization import NormalizationConfig
from gvtzoo.packages.config import PackageConfig
from gvtzoo.packages.importing import example_image, import_checkpoint
from gvtzoo.packages.writer import write_package
from gvtzoo.recipes.metadata import Author, Citation, DataSource, ModelMetadata

GOLDEN = Path(__file__).parent.parent / "golden"


def tiny_config(**changes) -> PackageConfig:
    """Of a small 2D network; its texts name addresses, which no test may look up."""
    settings = {
        "task": "denoising",
        "network": FLAT,
        "normalization": NormalizationConfig(),
        "metadata": ModelMetadata(
            id="tiny-model",
            name="Tiny model",
            description="For tests.",
            license="BSD-3-Clause",
            authors=(Author(name="A. Uthor"),),
            cite=(Citation(text="A page", url="https://example.org/paper"),),
            data=(DataSource(name="Blobs", license="CC0-1.0", url="https://example.org/data"),),
        ),
    }
    return PackageConfig(**settings | changes)


def write_tiny(path: Path, config: PackageConfig, **options) -> Path:
    import torch

    torch.manual_seed(0)
    options = {"example": example_image(config)} | options
    return write_package(path, network=config.network.build(), config=config, **options)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    """The package of a small 2D network."""
    return write_tiny(tmp_path_factory.mktemp("tiny") / "tiny.zip", tiny_config())


class Imported(dict):
    """Golden checkpoints as packages, each made when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def __missing__(self, case: str) -> Path:
        config = json.loads((GOLDEN / case / "config.json").read_text())
        output = self.folder / f"{case}.zip"
        self[case] = import_checkpoint(GOLDEN / case, config=config, output=output)
        return self[case]


@pytest.fixture(scope="session")
def imported(tmp_path_factory) -> Imported:
    """The golden checkpoints as packages, by the case's name."""
    return Imported(tmp_path_factory.mktemp("imported"))


@pytest.fixture
def golden_numbers():
    """Reader of a golden case's arrays."""
    return lambda case: dict(np.load(GOLDEN / case / "golden.npz"))


@pytest.fixture(name="tiny_config")
def _tiny_config():
    return tiny_config


@pytest.fixture(name="write_tiny")
def _write_tiny():
    return write_tiny
