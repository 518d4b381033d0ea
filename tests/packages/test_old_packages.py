"""Packages of earlier versions: sizes on a grid, and the network's class as the architecture."""

from pathlib import Path

import numpy as np
import pytest

from gvtzoo.packages.checks import check_package
from gvtzoo.packages.client_package import repackage
from gvtzoo.packages.clients import TileSizes
from gvtzoo.packages.reader import open_package

OLD = Path(__file__).parent / "files" / "made_by_0_1.zip"


@pytest.fixture(scope="module")
def again(tmp_path_factory):
    """The old package with today's exports."""
    return repackage(OLD, tmp_path_factory.mktemp("again") / "again.zip")


def test_an_old_package_is_read_and_passes():
    package = open_package(OLD)
    assert TileSizes.of(package.rdf).step == (2, 2)
    assert [result for result in check_package(OLD) if not result.passed] == []


def test_an_old_package_predicts_the_same_as_packaged_again(again):
    from gvtzoo.hub.load import load_own

    image = np.random.default_rng(0).random((37, 41)).astype(np.float32)
    one, other = (load_own(path).predict(image).to_numpy() for path in (OLD, again))
    np.testing.assert_array_equal(one, other)


def test_packaged_again_it_takes_any_size_and_keeps_its_pictures(again):
    old, new = open_package(OLD), open_package(again)
    assert TileSizes.of(new.rdf).step == (1, 1)
    assert new.config == old.config
    for name in ("sample_input.tif", "sample_output.tif", "cover.png"):
        assert new.read(name) == old.read(name)
    assert [result for result in check_package(again) if not result.passed] == []
