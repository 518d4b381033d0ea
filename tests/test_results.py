"""The page of results is about the networks that its script would train."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"


def script():
    spec = importlib.util.spec_from_file_location("results", DOCS / "results.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["results"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


RESULTS = script()
PAGE = (DOCS / "results.md").read_text(encoding="utf-8")
VARIANTS = [(study, variant) for study in RESULTS.STUDIES for variant in study.variants]


@pytest.mark.parametrize(
    ("study", "variant"), VARIANTS, ids=lambda part: getattr(part, "folder", part.name)
)
def test_networks_are_of_the_size_that_is_shown(study, variant):
    network = RESULTS.recipe_of(study, variant, 0).network.build()
    count = sum(parameter.numel() for parameter in network.parameters())
    assert f"| {variant.name} | {count:,} | {len(variant.seeds)} |" in PAGE
    assert RESULTS.command(study, variant) in PAGE


def test_networks_of_equal_size_are():
    for study in RESULTS.STUDIES:
        networks = [RESULTS.recipe_of(study, v, 0).network.build() for v in study.variants]
        first, *others = (sum(p.numel() for p in network.parameters()) for network in networks)
        for variant, count in zip(study.variants[1:], others, strict=True):
            if "equal size" in variant.name:
                assert count == pytest.approx(first, rel=0.05)


def test_pictures_are_there():
    names = re.findall(r"\]\((results/[^)]+)\)", PAGE)
    assert len(names) > 10
    assert all((DOCS / name).is_file() for name in names)
