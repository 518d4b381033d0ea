"""The pages in docs/ and CONTRIBUTING: commands and options exist, examples run, links lead."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

import gvtzoo
from gvtzoo.cli.main import app
from gvtzoo.hub.index import read_index

ROOT = Path(__file__).parent.parent
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "CONTRIBUTING.md"]
PAGES = [page for page in PAGES if not {"_build", "_generated", "api"} & set(page.parts)]
TOY = "gvtnet-denoising-toy"  # which CONTRIBUTING makes
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


def blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def commands(page: Path) -> list[list[str]]:
    """What the page's shell blocks, and its notebook's shell cells, type after ``gvtzoo``."""
    shell = [*blocks(page, "sh"), *blocks(page, "bash")]
    shell += [cell for cell in blocks(page, r"\{code-cell\} ipython3") if "%%bash" in cell]
    lines = "\n".join(shell).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("gvtzoo ")]


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_and_options_exist(page):
    root = typer.main.get_command(app)
    for arguments in commands(page):
        # Parses as `gvtzoo` does, without running: an option that does not exist is an error.
        command, rest = root, arguments
        context = typer.Context(root, info_name="gvtzoo")
        while rest and hasattr(command, "resolve_command"):
            name, command, rest = command.resolve_command(context, rest)
        with command.make_context(name, rest, parent=context):
            pass


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_models_exist(page):
    shown = {word for command in commands(page) for word in command if word.startswith("gvtnet-")}
    assert shown - {TOY} <= set(read_index())


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)(?:#[^)]*)?\)", text)
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing


def test_training_page_example_runs():
    (example,) = blocks(ROOT / "docs" / "howto" / "train.md", "python")
    exec(compile(example, "train.md", "exec"), {})


def test_reference_lists_the_public_names():
    page = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^   (\w+)$", page, flags=re.MULTILINE))
    modules = {"__version__", "networks"}
    assert set(gvtzoo.__all__) - modules <= listed
