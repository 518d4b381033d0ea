"""Citations as BibTeX."""

from __future__ import annotations

import re
from collections.abc import Iterable

from gvtzoo.recipes.metadata import Citation


def bibtex(citations: Iterable[Citation]) -> str:
    """Citations as BibTeX entries; their text is kept whole, in the note."""
    entries: dict[str, str] = {}
    for citation in citations:
        key = _key(citation.text)
        while key in entries:
            key += "x"
        fields = [("note", _escape(citation.text.rstrip(".")))]
        fields += [("doi", citation.doi)] if citation.doi else []
        fields += [("url", citation.url)] if citation.url else []
        lines = "".join(f"  {name} = {{{value}}},\n" for name, value in fields)
        entries[key] = f"@misc{{{key},\n{lines}}}"
    return "\n\n".join(entries.values())


def _key(text: str) -> str:
    """First word and year, as in ``wang2021``."""
    word = re.search(r"[A-Za-z]{2,}", text)
    year = re.search(r"\b(19|20)\d\d\b", text)
    return (word[0].lower() if word else "model") + (year[0] if year else "")


def _escape(text: str) -> str:
    return re.sub(r"([&%$#_{}])", r"\\\1", text)
