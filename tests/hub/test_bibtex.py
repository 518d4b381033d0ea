"""Citations as BibTeX."""

from __future__ import annotations

from gvtzoo.hub.bibtex import bibtex
from gvtzoo.recipes.metadata import Citation


def test_bibtex_keeps_the_citation_and_tells_entries_apart():
    first = Citation(text="Uthor, A. On 5 % of blobs. Blobs 3 (2019).", doi="10.1000/1")
    second = Citation(text="Uthor, B. More. (2019)", url="https://example.org")
    assert bibtex((first, second)) == (
        "@misc{uthor2019,\n"
        "  note = {Uthor, A. On 5 \\% of blobs. Blobs 3 (2019)},\n"
        "  doi = {10.1000/1},\n"
        "}\n\n"
        "@misc{uthor2019x,\n"
        "  note = {Uthor, B. More. (2019)},\n"
        "  url = {https://example.org},\n"
        "}"
    )
