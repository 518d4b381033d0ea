"""What tests share: the reference implementation's cases, as models, and a browser.

Tests that need the browser are marked ``browser``, those that need a window of napari ``napari``,
and run only where that is asked for: ``pytest -m browser`` (Chromium, its driver, and selenium),
``pytest -m napari`` (napari, and a screen or Xvfb). Those that are ``slow`` and rarely fail run
where they are named, by ``pytest -m slow``, by their file or by their own name.

Hypothesis draws the same examples every time, so that a change passes or fails by what it changes;
``pytest --hypothesis-profile default`` draws new ones, and ``GVTZOO_FUZZ=1`` many more.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch
from strategies import examples

from gvtzoo.images.normalization import (
    NoNormalization,
    NormalizationConfig,
    PercentileNormalization,
)
from gvtzoo.networks.config import NetworkConfig
from gvtzoo.packages.config import PackageConfig
from gvtzoo.packages.tensorflow import (
    TASKS,
    config_from_reference,
    has_sigma,
    read_checkpoint,
    to_state_dict,
)
from gvtzoo.prediction.model import Model
from gvtzoo.recipes.metadata import default_metadata

GOLDEN = Path(__file__).parent / "golden"

pytest_plugins = ["package_fixtures"]


hypothesis.settings.register_profile(
    "repeatable", examples(25), derandomize=True, database=None, deadline=None
)
hypothesis.settings.load_profile("repeatable")

ON_REQUEST = {"browser": "Chromium", "napari": "napari and a screen"}


def pytest_configure(config):
    for marker, needed in ON_REQUEST.items():
        config.addinivalue_line("markers", f"{marker}: needs {needed}; run with -m {marker}")
    config.addinivalue_line("markers", "slow: run with -m slow, or by the name of its file")
    if getattr(config.option, "dist", "no") == "load":
        # A file's tests stay together, so that what they share is made by one process.
        config.option.dist = "worksteal"
    if "PYTEST_XDIST_WORKER" in os.environ:
        # There is a process for each processor; those that they start inherit it.
        os.environ["OMP_NUM_THREADS"] = "1"
        torch.set_num_threads(1)


def pytest_collection_modifyitems(config, items):
    asked_for = config.option.markexpr
    unasked = [marker for marker in ON_REQUEST if marker not in asked_for]
    left_out = {item for item in items if any(map(item.get_closest_marker, unasked))}
    if "slow" not in asked_for:
        left_out |= {item for item in items if item.get_closest_marker("slow") and not _named(item)}
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=list(left_out))


def _named(item) -> bool:
    """Whether the command line names the test or its file, and not only a folder around it."""
    names = [argument.partition("::")[0] for argument in item.config.args]
    return any((item.config.invocation_params.dir / name) == item.path for name in names)


class GoldenCase:
    """One folder of numbers of the reference implementation."""

    def __init__(self, name: str) -> None:
        self.folder = GOLDEN / name
        self.settings = json.loads((self.folder / "config.json").read_text())
        self.variables = read_checkpoint(self.folder)

    @property
    def config(self) -> NetworkConfig:
        config = config_from_reference(self.settings)
        return config.model_copy(update={"uncertainty": has_sigma(self.variables)})

    def network(self):
        network = self.config.build()
        state = to_state_dict(self.variables, self.config)
        missing, unexpected = network.load_state_dict(state, strict=False)
        assert not unexpected
        assert all(name.endswith("num_batches_tracked") for name in missing)
        return network.eval()

    def model(self) -> Model:
        task = TASKS[self.settings["task"]]
        percentiles = self.pipeline_settings["care_normalize"]
        config = PackageConfig(
            task=task,
            network=self.config,
            normalization=NormalizationConfig(
                source=PercentileNormalization() if percentiles else NoNormalization(),
                target="as_source",
                undo=percentiles,
            ),
            metadata=default_metadata(self.folder.name, task),
        )
        return Model(self.network(), config)

    @property
    def golden(self) -> dict[str, np.ndarray]:
        return dict(np.load(self.folder / "golden.npz"))

    @property
    def pipeline(self) -> dict[str, np.ndarray]:
        return dict(np.load(self.folder / "pipeline.npz"))

    @property
    def pipeline_settings(self) -> dict:
        return json.loads((self.folder / "pipeline.json").read_text())


@pytest.fixture(autouse=True, scope="session")
def empty_home(tmp_path_factory):
    """What is installed on this computer makes no difference to tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GVTZOO_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        patch.delenv("GVTZOO_AUTHOR", raising=False)
        patch.setenv("GVTZOO_PUBLISHED_URL", "http://127.0.0.1:9/nothing")
        yield


@pytest.fixture
def golden_case():
    """Loader of golden cases by name."""
    return GoldenCase


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    from browser import chromium

    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver
