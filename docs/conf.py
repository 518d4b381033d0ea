"""Sphinx: the site is built from these pages, the docstrings, and notebooks that are run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import models_page

from gvtzoo.core.version import __version__

project = "gvtzoo"
author = "gvtzoo authors"
copyright = "2026, gvtzoo authors"
version = release = __version__

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
]
templates_path = ["_templates"]
exclude_patterns = [
    "_build",
    "notes",
    "_generated",
    "_templates",
    ".jupyter_cache",
    "jupyter_execute",
]
# autosummary writes its pages with the first suffix
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb"}
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

html_theme = "pydata_sphinx_theme"
html_title = "gvtzoo"
html_theme_options = {
    "show_toc_level": 2,
    "header_links_before_dropdown": 7,
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"index": []}

autosummary_generate = True
autodoc_typehints = "none"  # numpydoc has the types
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
# What a docstring that the reference lists has to have: itself, a summary, a description of each
# parameter that exists (and of none that does not), and of what is returned.
numpydoc_validation_checks = {"GL08", "SS03", "PR01", "PR02", "RT01"}
# Settings and results say what they hold under "Attributes", a projection in its text (its source
# is a part of packages, byte for byte).
_RECORDS = (
    "Settings|LazyImage|NetworkConfig|AttentionConfig|Recipe|DataConfig|TrainingConfig"
    "|AugmentationConfig|ModelMetadata|ModelInfo|ListedModel|FineTuning|Evaluation"
    "|ProjectionGVTNet"
)
numpydoc_validation_exclude = {rf"\.({_RECORDS})$"}

nb_execution_mode = "cache"
nb_execution_in_temp = True  # what notebooks write does not belong here
nb_execution_timeout = 1200
nb_execution_raise_on_error = True
nb_merge_streams = True


def setup(app: Any) -> None:
    """Write the page of models before Sphinx looks for pages."""
    models_page.write(Path(__file__).parent / "_generated")
