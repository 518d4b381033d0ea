"""A package that is written again is the same in everything but what was changed."""

from __future__ import annotations

import pytest

from gvtzoo.core.errors import GvtzooError
from gvtzoo.hub.registry import bundled_models
from gvtzoo.packages.config import SigmaCalibration, TilingHint
from gvtzoo.packages.reader import open_package
from gvtzoo.packages.rewriting import rewrite_package

HINT = TilingHint(tile=(96, 96), halo=(28, 28), pearson_r=0.987, max_difference=0.05)


@pytest.fixture(scope="module")
def original():
    return bundled_models()["gvtnet-denoising-exposures"]


def test_only_the_hint_changes(original, tmp_path):
    written = rewrite_package(original, {"tiling": HINT}, tmp_path / "new.zip")
    before, after = open_package(original), open_package(written)
    # As text: fingerprints hold what is not a number, which equals nothing.
    expected = before.config.model_copy(update={"tiling": HINT})
    assert after.config.model_dump_json() == expected.model_dump_json()
    assert set(after.names()) == set(before.names())
    for name in before.names():
        if name not in ("rdf.yaml", "README.md"):
            assert after.read(name) == before.read(name)
    text = after.read("README.md").decode()
    assert "96×96" in text
    assert "0.987" in text
    after.build_network()


def test_a_package_gets_what_its_sigma_says(original, tmp_path):
    found = SigmaCalibration(noise=(0.1, 0.2), factors=(1.4, 1.1), levels=(0.5,), multiples=(0.7,))
    written = rewrite_package(original, {"calibration": found}, tmp_path / "new.zip")
    expected = open_package(original).config.model_copy(update={"calibration": found})
    assert open_package(written).config.model_dump_json() == expected.model_dump_json()


def test_nothing_is_overwritten_unasked(original, tmp_path):
    path = rewrite_package(original, {"tiling": HINT}, tmp_path / "new.zip")
    content = path.read_bytes()
    with pytest.raises(GvtzooError, match=r"new\.zip exists"):
        rewrite_package(original, {"tiling": HINT}, path)
    assert path.read_bytes() == content
    other = HINT.model_copy(update={"pearson_r": 0.5})
    replaced = rewrite_package(path, {"tiling": other}, path, overwrite=True)
    assert open_package(replaced).config.tiling == other
    with pytest.raises(GvtzooError, match=r"has to end in \.zip"):
        rewrite_package(original, {"tiling": HINT}, tmp_path / "new.tar")
