"""A Hub on loopback, an empty cache, and a package to publish."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from small_networks import FLAT

from gvtzoo.hub.publish import Publication, prepare, upload
from gvtzoo.images.normalization import NormalizationConfig
from gvtzoo.packages.config import MetricRow, PackageConfig, TilingHint
from gvtzoo.packages.importing import example_image
from gvtzoo.packages.writer import write_package
from gvtzoo.recipes.metadata import Author, Citation, DataSource, ModelMetadata

spec = importlib.util.spec_from_file_location(
    "gvtzoo_hub_server", Path(__file__).with_name("hub_server.py")
)
hub_server = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = hub_server
spec.loader.exec_module(hub_server)


def described(**changes) -> ModelMetadata:
    settings = {
        "id": "tiny-model",
        "name": "Tiny model",
        "description": "Denoises blobs.",
        "license": "MIT",
        "authors": (Author(name="A. Uthor"),),
        "cite": (Citation(text="Uthor, A. On blobs & noise. Blobs 3 (2019).", doi="10.1000/1"),),
        "structure": "bright blobs",
        "data": (
            DataSource(
                name="Blobs", license="CC0-1.0", url="https://huggingface.co/datasets/alice/blobs"
            ),
        ),
    }
    return ModelMetadata(**settings | changes)


def configured(**changes) -> PackageConfig:
    settings = {
        "task": "denoising",
        "network": FLAT,
        "normalization": NormalizationConfig(),
        "metadata": described(),
        "metrics": (
            MetricRow(data="blobs, test", condition="5 photons", method="GVTNet", SSIM=0.91),
            MetricRow(data="blobs, test", condition="5 photons", method="median", SSIM=0.77),
        ),
        "tiling": TilingHint(tile=(64, 64), halo=(8, 8), pearson_r=0.99),
    }
    return PackageConfig(**settings | changes)


def packaged(path: Path, config: PackageConfig) -> Path:
    import torch

    torch.manual_seed(0)
    return write_package(
        path, network=config.network.build(), config=config, example=example_image(config)
    )


@pytest.fixture(name="configured")
def _configured():
    return configured


@pytest.fixture(name="described")
def _described():
    return described


@pytest.fixture(name="packaged")
def _packaged():
    return packaged


@pytest.fixture(scope="session")
def package(tmp_path_factory) -> Path:
    return packaged(tmp_path_factory.mktemp("package") / "tiny.zip", configured())


@pytest.fixture(scope="session")
def publication(package) -> Publication:
    """What `alice/tiny` consists of: checked once, uploaded often."""
    return prepare(package, "alice/tiny")


@pytest.fixture
def newer(publication) -> Publication:
    """The same model as version 1.1.0, with another card and without its sample images."""
    files = {name: file for name, file in publication.files.items() if "sample" not in name}
    files["README.md"] += b"\nBetter.\n"
    return replace(publication, version="1.1.0", files=files)


@pytest.fixture
def models(tmp_path, monkeypatch) -> Path:
    """An empty models folder."""
    monkeypatch.setenv("GVTZOO_HOME", str(tmp_path / "home"))
    folder = tmp_path / "home" / "models"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def server():
    with hub_server.HubServer() as running:
        yield running


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache of this process."""
    from huggingface_hub import constants

    folder = tmp_path / "cache"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    return folder


@pytest.fixture
def hub(server, cache, monkeypatch):
    """The server, as this process's Hub, with an account."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    monkeypatch.setenv("HF_TOKEN", "hf_alice")
    return server


@pytest.fixture
def published(hub, publication):
    """The server with `alice/tiny` 1.0.0 on it."""
    upload(publication)
    hub.requests.clear()
    return hub


@pytest.fixture
def elsewhere(server, tmp_path):
    """Starts Python on another machine, as it were: a process with a home of its own."""
    home = tmp_path / "elsewhere"

    def start(*arguments: object, wait: bool = True, **environment: str):
        settings = {
            "HF_HOME": str(home),
            "XDG_CACHE_HOME": str(home / "cache"),
            "BIOIMAGEIO_CACHE_PATH": str(home / "bioimageio"),
            "HF_ENDPOINT": server.address,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "OMP_NUM_THREADS": "1",
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        process = subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            env={**kept, **settings, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if not wait:
            return process
        output, errors = process.communicate(timeout=120)
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    return start
