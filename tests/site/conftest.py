"""Cards, the page made of them, and a browser that shows it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gvtzoo.recipes.metadata import MetricRow
from gvtzoo.site.builder import build_site
from gvtzoo.site.cards import Command, ModelCard
from gvtzoo.site.pictures import side_by_side


def _nuclei() -> ModelCard:
    generator = np.random.default_rng(0)
    clean = np.linspace(0, 1, 40)[None, None] * np.ones((3, 20, 40))
    noisy = clean + generator.normal(0, 0.3, clean.shape)
    data = {"data": "nuclei, test", "condition": "5 photons"}
    return ModelCard(
        id="denoise-nuclei",
        name="Denoising of nuclei",
        task="denoising",
        structure="nuclei",
        dimensions="3D",
        description="Denoises stacks of nuclei.",
        license="BSD-3-Clause",
        obtained="Comes with gvtzoo.",
        size=4_020_402,
        metrics=(
            MetricRow(**data, method="median", r=0.82, SSIM=0.271),
            MetricRow(**data, method="GVTNet", r=0.94, SSIM=0.57),
        ),
        commands=(
            Command("Predict an image", "gvtzoo predict denoise-nuclei image.tif -o out.tif"),
            Command("In Python", 'import gvtzoo\n\nmodel = gvtzoo.load("denoise-nuclei")'),
        ),
        pictures=side_by_side(
            noisy,
            clean,
            "Made for this test",
            same_contrast=True,
            truth=clean,
            pixel_size=0.5,
            unit="micrometer",
        ),
    )


def _imported(identifier: str, **changes) -> ModelCard:
    settings = {
        "name": identifier.replace("-", " ").capitalize(),
        "task": "label_free",
        "structure": "actin filaments",
        "dimensions": "3D",
        "description": "Predicts fluorescence from transmitted light.",
        "license": "GPL-3.0-only",
        "obtained": "Import it from a clone of the authors’ repository.",
        "commands": (
            Command("Make the package", f"gvtzoo import-tf checkpoint/ -o {identifier}.zip"),
        ),
    }
    return ModelCard(id=identifier, **settings | changes)


@pytest.fixture(scope="session")
def package(tmp_path_factory) -> Path:
    """A file to download; the page never looks into it."""
    path = tmp_path_factory.mktemp("package") / "model.zip"
    path.write_bytes(b"PK")
    return path


@pytest.fixture(scope="session")
def cards(package) -> list[ModelCard]:
    """One model with everything, three without pictures and metrics."""
    return [
        replace(_nuclei(), package=package),
        _imported("label-free-actin"),
        _imported("label-free-dna", structure="DNA"),
        _imported("project-wing", task="projection", structure="fly wing", dimensions="3D → 2D"),
    ]


@pytest.fixture(scope="session")
def imported():
    """Makes a card of a model without weights here."""
    return _imported


@pytest.fixture(scope="session")
def site(cards, tmp_path_factory) -> Path:
    """The page's index.html."""
    return build_site(cards, tmp_path_factory.mktemp("site"))


@pytest.fixture
def page(chromium, site):
    """The page, freshly opened from its file, 1280 pixels wide, in light colours."""
    from browser import Page

    return Page.opened(chromium, site)
