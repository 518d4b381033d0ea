"""YAML that may come from strangers: plain values, of bounded size and depth."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import yaml

from gvtzoo.core.errors import GvtzooError

LARGEST = 2**18  # bytes; PyYAML takes seconds for them
DEEPEST = 50  # lists and mappings in each other
LARGEST_UNFOLDED = 2**20  # characters, once aliases are written out
LONGEST_NUMBER = 100  # digits; longer ones take Python minutes
NUMBER = re.compile(r"[-+]?(0x[0-9a-fA-F_]+|[-+0-9_:.eE]+)")
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def read_yaml(text: bytes | str) -> Any:
    """What a YAML text holds, each alias (``*name``) written out as a copy.

    Aliases make a value of any size of a short text: what they come to is counted before it is
    made, and bounded. Control characters, which steer the terminal that they are printed on, are
    refused.

    Raises
    ------
    GvtzooError
        What is wrong with the text; which file it is from is the caller's to say.
    """
    if len(text) > LARGEST:
        raise GvtzooError(f"it is too long ({len(text)} bytes, more than {LARGEST})")
    try:
        value = _loaded(text)
    except GvtzooError:
        raise
    # Numbers and dates that are none raise whatever Python's own types do.
    except Exception as error:
        problem = " ".join(str(error).split())[:300]
        raise GvtzooError(f"it is not valid YAML: {problem}") from error
    return _unfolded(value)


@lru_cache(maxsize=2)
def _loaded(text: bytes | str) -> Any:
    """What a text holds; a description is read twice, to see whose it is and to use it."""
    return yaml.load(text, _PlainLoader)


def _unfolded(value: Any) -> Any:
    """A copy in which nothing is there twice, so that a change in one place stays there."""
    if isinstance(value, dict):
        return {key: _unfolded(inner) for key, inner in value.items()}
    return [_unfolded(inner) for inner in value] if isinstance(value, list) else value


class _PlainLoader(yaml.SafeLoader):
    """PyYAML's safe loader, which stops at what is refused before it has read the rest."""

    def __init__(self, text: bytes | str) -> None:
        super().__init__(text)
        self.depth = 0
        # Characters and depth of what is composed, with all aliases in it written out.
        self.sizes: dict[int, tuple[int, int]] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        line = event.start_mark.line + 1
        if isinstance(event, yaml.ScalarEvent):
            _check_scalar(event.value, line)
        if self.depth > DEEPEST:
            raise GvtzooError(f"it is nested more than {DEEPEST} levels deep (line {line})")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        self._measure(node, event, line)
        return node

    def _measure(self, node: Any, event: Any, line: int) -> None:
        """Note how large a node is once it is written out."""
        if isinstance(event, yaml.AliasEvent):
            if id(node) not in self.sizes:
                raise GvtzooError(f"it has a value that holds itself (line {line})")
            return
        parts = [] if isinstance(node, yaml.ScalarNode) else list(_children(node))
        own = len(node.value) if isinstance(node, yaml.ScalarNode) else 0
        size = 1 + own + sum(self.sizes[id(part)][0] for part in parts)
        depth = 1 + max((self.sizes[id(part)][1] for part in parts), default=0)
        if size > LARGEST_UNFOLDED or depth > DEEPEST + 1:
            raise GvtzooError(
                f"its aliases make it too large (line {line}): written out, it has more than "
                f"{LARGEST_UNFOLDED} characters, or more than {DEEPEST} levels"
            )
        self.sizes[id(node)] = (size, depth)


def _children(node: Any) -> Iterator[Any]:
    for part in node.value:
        yield from part if isinstance(part, tuple) else (part,)


def _check_scalar(text: str, line: int) -> None:
    if CONTROL.search(text):
        raise GvtzooError(f"it has a control character (line {line})")
    if len(text) > LONGEST_NUMBER and NUMBER.fullmatch(text):
        raise GvtzooError(f"it has a number of {len(text)} digits (line {line})")
