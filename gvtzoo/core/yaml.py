"""YAML that may come from strangers: plain values, of bounded size and depth."""

from __future__ import annotations

import re
from typing import Any

import yaml

from gvtzoo.core.errors import GvtzooError

LARGEST = 2**18  # bytes; PyYAML takes seconds for them
DEEPEST = 50  # lists and mappings in each other
LONGEST_NUMBER = 100  # digits; longer ones take Python minutes
NUMBER = re.compile(r"[-+]?(0x[0-9a-fA-F_]+|[-+0-9_:.eE]+)")
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def read_yaml(text: bytes | str) -> Any:
    """What a YAML text holds.

    Aliases are refused, by which a short text becomes a value of any size, and so are control
    characters, which steer the terminal that they are printed on.

    Raises
    ------
    GvtzooError
        What is wrong with the text; which file it is from is the caller's to say.
    """
    if len(text) > LARGEST:
        raise GvtzooError(f"it is too long ({len(text)} bytes, more than {LARGEST})")
    try:
        return yaml.load(text, _PlainLoader)
    except GvtzooError:
        raise
    # Numbers and dates that are none raise whatever Python's own types do.
    except Exception as error:
        problem = " ".join(str(error).split())[:300]
        raise GvtzooError(f"it is not valid YAML: {problem}") from error


class _PlainLoader(yaml.SafeLoader):
    """PyYAML's safe loader, which stops at what is refused before it has read the rest."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            raise GvtzooError(
                f"it has YAML aliases (line {line}), which are not read: write the values out"
            )
        if isinstance(event, yaml.ScalarEvent):
            _check_scalar(event.value, line)
        if self.depth > DEEPEST:
            raise GvtzooError(f"it is nested more than {DEEPEST} levels deep (line {line})")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _check_scalar(text: str, line: int) -> None:
    if CONTROL.search(text):
        raise GvtzooError(f"it has a control character (line {line})")
    if len(text) > LONGEST_NUMBER and NUMBER.fullmatch(text):
        raise GvtzooError(f"it has a number of {len(text)} digits (line {line})")
