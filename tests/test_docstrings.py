"""Docstrings of the package: each public name has one, each that takes several arguments says what
they are, and each that refuses something says so. What the reference lists is held to more when the
site is built (`docs/conf.py`).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import gvtzoo

PACKAGE = Path(gvtzoo.__file__).parent
FILES = sorted(file for file in PACKAGE.rglob("*.py") if "_resources" not in file.parts)
SEVERAL = 3  # arguments that are described one by one
SECTION = r"^Parameters\n-+\n(.*?)(?=^\S[^\n]*\n-+$|\Z)"
Function = ast.FunctionDef | ast.AsyncFunctionDef
Named = Function | ast.ClassDef


def public_names(body: list[ast.stmt], inside: str = "") -> Iterator[tuple[str, Named]]:
    """The functions and classes of a module, and the methods of these, which others may use."""
    for node in body:
        if isinstance(node, ast.If | ast.Try | ast.With):
            yield from public_names(node.body, inside)
        elif isinstance(node, Named) and not node.name.startswith("_"):
            yield f"{inside}{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from public_names(node.body, f"{node.name}.")


def is_signature(node: Named) -> bool:
    """Whether it only tells type checkers of one more way to call a function."""
    return any(isinstance(d, ast.Name) and d.id == "overload" for d in node.decorator_list)


def takes_docstring(node: Named) -> bool:
    """Whether it has the docstring of another class (``__doc__ = …``)."""
    lines = [line for line in node.body if isinstance(line, ast.Assign)]
    return any(ast.unparse(line.targets[0]) == "__doc__" for line in lines)


def arguments_of(node: Named) -> list[str] | None:
    """What is given when it is called; None of a class without a constructor of its own."""
    if isinstance(node, ast.ClassDef):
        makers = [part for part in node.body if getattr(part, "name", "") == "__init__"]
        return arguments_of(makers[0]) if makers else None  # type: ignore[arg-type]
    given = node.args
    every = [*given.posonlyargs, *given.args, given.vararg, *given.kwonlyargs, given.kwarg]
    return [a.arg for a in every if a is not None and a.arg not in ("self", "cls")]


def described(docstring: str) -> set[str] | None:
    """The names under "Parameters"; None where there is no such section."""
    section = re.search(SECTION, docstring, flags=re.MULTILINE | re.DOTALL)
    if section is None:
        return None
    heads = re.findall(r"^(\S[^\n]*?)(?: : .*)?$", section[1], flags=re.MULTILINE)
    return {name.strip().lstrip("*") for head in heads for name in head.split(",")}


def refuses(node: Named) -> bool:
    """Whether a function's own lines raise the error that users are meant to read."""
    lines: list[ast.AST] = list(node.body) if isinstance(node, Function) else []
    while lines:
        line = lines.pop()
        if isinstance(line, ast.Raise) and ast.unparse(line).startswith("raise GvtzooError("):
            return True
        if not isinstance(line, Named):
            lines += ast.iter_child_nodes(line)
    return False


def troubles(source: str) -> list[str]:
    """What is missing from the docstrings of a module."""
    tree = ast.parse(source)
    found = [] if ast.get_docstring(tree) else ["the module has no docstring"]
    # The docstring of a command is its help, and its options are described where they are.
    commands = set(re.findall(r"\.command\(\"[^\"]+\"\)\((\w+)\)", source))
    for name, node in public_names(tree.body):
        if is_signature(node) or takes_docstring(node):
            continue
        docstring, arguments = ast.get_docstring(node), arguments_of(node)
        if not docstring:
            found.append(f"{name} has no docstring")
            continue
        if refuses(node) and name not in commands and "Raises\n---" not in docstring:
            found.append(f"{name} does not say that it raises GvtzooError")
        names = described(docstring)
        if names is None:
            # A method that does what its interface says may refer to that.
            several = isinstance(node, Function) and len(arguments or ()) >= SEVERAL
            if several and name not in commands and not docstring.startswith("As `"):
                found.append(f"{name} does not describe its {len(arguments or ())} parameters")
        elif arguments is not None and names != set(arguments):
            differing = ", ".join(sorted(names ^ set(arguments)))
            found.append(f"{name} and its docstring differ in {differing}")
    return found


def test_public_names_say_what_they_are():
    found = [
        f"{file.relative_to(PACKAGE)}: {trouble}"
        for file in FILES
        for trouble in troubles(file.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(found)


def test_each_folder_says_what_may_import_it():
    for file in PACKAGE.glob("*/__init__.py"):
        said = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        assert re.search(r"may\s+import|imports?\s+it", said), file


@pytest.mark.parametrize(
    ("source", "trouble"),
    [
        ("def f(): pass", "f has no docstring"),
        ("class C:\n '''C.'''\n def f(self): pass", "C.f has no docstring"),
        ("class C:\n '''C.'''\n async def f(self): pass", "C.f has no docstring"),
        (
            "def f(a):\n '''F.'''\n if a:\n  raise GvtzooError(a)",
            "f does not say that it raises GvtzooError",
        ),
        ("def f(a, b, *, c): '''F.'''", "f does not describe its 3 parameters"),
        (
            "def f(a, b):\n '''F.\n\n Parameters\n ----------\n a, c : int\n  Of f.\n '''",
            "f and its docstring differ in b, c",
        ),
    ],
)
def test_the_check_sees(source, trouble):
    assert troubles(f"'''A module.'''\n{source}") == [trouble]
