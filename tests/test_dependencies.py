"""What is imported is declared, and the lowest versions that are tested are those declared."""

from __future__ import annotations

import ast
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Whose optional imports are of their extra, which is not installed everywhere.
OPTIONAL = {
    *("bioio", "bioio_base", "botocore", "cloudpickle", "dask", "distributed"),
    *("napari", "qtpy", "s3fs"),
}
# Modules of a namespace that several distributions share.
SHARED = {"bioimageio": {"bioimageio-core", "bioimageio-spec"}}


def requirements(texts):
    return {canonicalize_name(req.name): req for req in map(Requirement, texts)}


def imported() -> set[str]:
    found = set()
    for path in (ROOT / "gvtzoo").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found.add((node.module or "").split(".")[0])
    return found - set(sys.stdlib_module_names) - {"gvtzoo"}


INSTALLED = packages_distributions()


def distributions(module: str) -> set[str]:
    names = INSTALLED.get(module, [module])
    return SHARED.get(module) or {canonicalize_name(name) for name in names}


def test_everything_that_is_imported_is_declared():
    declared = set(requirements(PROJECT["dependencies"]))
    optional = {
        name for texts in PROJECT["optional-dependencies"].values() for name in requirements(texts)
    }
    for module in imported():
        allowed = declared | optional if module in OPTIONAL else declared
        assert distributions(module) & allowed, f"{module} is imported, but not declared"


def test_everything_that_is_declared_has_a_lower_bound():
    for texts in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()):
        for name, requirement in requirements(texts).items():
            if name in ("gvtzoo", "build", "mypy", "pre-commit", "ruff") or "types-" in name:
                continue
            assert any(spec.operator == ">=" for spec in requirement.specifier), requirement


def test_the_lowest_versions_that_are_tested_are_the_lowest_that_are_allowed():
    lines = (ROOT / ".ci/lowest.txt").read_text(encoding="utf-8").splitlines()
    pins = requirements(line for line in lines if line and not line.startswith("#"))
    declared = requirements(PROJECT["dependencies"])
    assert declared.keys() <= pins.keys()
    for name, requirement in declared.items():
        (pin,) = pins[name].specifier
        assert pin.operator == "=="
        assert requirement.specifier.contains(pin.version), name
        (lowest,) = [spec.version for spec in requirement.specifier if spec.operator == ">="]
        if name != "torch":  # see the file
            tested = pin.version.split(".")
            assert tested[: len(lowest.split("."))] == lowest.split("."), name
