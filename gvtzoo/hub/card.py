"""The model card: what Hugging Face shows of a repository, and reads from it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from gvtzoo.hub.bibtex import bibtex
from gvtzoo.hub.huggingface import REPOSITORY
from gvtzoo.packages.card_text import documentation
from gvtzoo.packages.config import MetricRow, PackageConfig
from gvtzoo.recipes.metadata import ORIGINS, ModelMetadata

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCardData

AFTER = "after"  # fine-tuning
DATASET = re.compile(r"https://huggingface\.co/datasets/([\w.-]+/[\w.-]+?)/?", re.ASCII)

# The usual ones, as the Hub spells them; any other is "other" there, with its name.
HUB_LICENSES = frozenset(
    {
        *("agpl-3.0", "apache-2.0", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "isc", "mit"),
        *("cc-by-3.0", "cc-by-4.0", "cc-by-nc-4.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-4.0"),
        *("cc-by-nd-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "gpl-2.0", "gpl-3.0", "lgpl-2.1"),
        *("lgpl-3.0", "mpl-2.0", "unlicense"),
    }
)

# As in the package's documentation, with what only the card has; the rest follows.
ORDER = (
    "What it is for",
    "What it is not for",
    "How to use it",
    "Training data",
    "Validation",
    "Normalization",
    "Tiling and image size",
    "Uncertainty",
)


def model_card(
    config: PackageConfig, repository: str, *, tags: Iterable[str] = (), picture: str
) -> str:
    """The repository's README.md: metadata for the Hub, then the text.

    Parameters
    ----------
    config : PackageConfig
    repository : str
        ``ORG/NAME``.
    tags : iterable of str
        Those of the package's description.
    picture : str
        Path of the cover in the repository.
    """
    metadata = card_metadata(config, tags)
    return f"---\n{metadata.to_yaml()}\n---\n\n{_text(config, repository, picture)}"


def card_metadata(config: PackageConfig, tags: Iterable[str] = ()) -> ModelCardData:
    """What the Hub searches by and shows beside the card."""
    from huggingface_hub import ModelCardData

    metadata = config.metadata
    results = evaluation_results(config.metrics, ORIGINS[config.network.architecture].title)
    datasets = [
        match[1] for source in metadata.data if (match := DATASET.fullmatch(source.url or ""))
    ]
    structure = _slug(metadata.structure)
    task = config.task.replace("_", "-")
    license_name = re.sub(r"-(only|or-later)$", "", metadata.license.lower()) or None
    is_listed = license_name in HUB_LICENSES
    is_other = license_name is not None and not is_listed
    base_model = _base_model(metadata)
    return ModelCardData(
        library_name="gvtzoo",
        pipeline_tag="image-to-image",
        tags=[tag for tag in ("bioimage.io", "microscopy", task, structure, *tags) if tag],
        base_model=base_model,
        base_model_relation="finetune" if base_model else None,
        datasets=datasets or None,
        model_name=metadata.name if results else None,
        eval_results=results or None,
        license="other" if is_other else license_name,
        license_name=license_name if is_other else None,
        license_link=f"https://spdx.org/licenses/{metadata.license}.html" if is_other else None,
    )


def _base_model(metadata: ModelMetadata) -> str | None:
    """The model before this one, where it is in a repository (a bundled model is in none)."""
    match = REPOSITORY.fullmatch(metadata.base_model or metadata.parent or "")
    return match[1] if match else None


def evaluation_results(metrics: Iterable[MetricRow], title: str = "GVTNet") -> list[EvalResult]:
    """The model's own metrics; what it was compared with stays in the card's table.

    Its rows are called as the network is, or, of a fine-tuned model, "after". Images that chose the
    weights are the split "validation", as the Hub calls it; all others are "test".
    """
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type="image-to-image",
            dataset_name=", ".join(part for part in (row.data, row.condition) if part),
            dataset_type=_slug(row.data),
            dataset_config=_slug(row.condition) or None,
            dataset_split="validation" if row.chose_weights else "test",
            metric_type=_slug(name),
            metric_name=name,
            metric_value=value,
        )
        for row in metrics
        if row.method.lower() in (title.lower(), AFTER)
        for name, value in row.values.items()
        if math.isfinite(value)
    ]


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _text(config: PackageConfig, repository: str, picture: str) -> str:
    metadata = config.metadata
    sections = _sections(documentation(config))
    sections["How to use it"] = _usage(sections["How to use it"], config, repository)
    sections["Citation"] = f"```bibtex\n{bibtex(metadata.cite)}\n```"
    titles = [*ORDER, *(title for title in sections if title not in ORDER)]
    parts = [
        f"# {metadata.name}",
        f"![Input and prediction]({picture})",
        metadata.description,
        *(f"## {title}\n\n{sections[title]}" for title in titles),
    ]
    return "\n\n".join(parts) + "\n"


def _sections(markdown: str) -> dict[str, str]:
    """Second-level sections of a Markdown text, by title."""
    parts = re.split(r"^## (.+)$", markdown, flags=re.MULTILINE)
    return {title: text.strip() for title, text in zip(parts[1::2], parts[2::2], strict=True)}


def _usage(usage: str, config: PackageConfig, repository: str) -> str:
    """The package's instructions, for whoever has only the repository's name."""
    by_name = usage.replace("predict MODEL.zip", f"predict {repository}").replace(
        'load("MODEL.zip")', f'load("{repository}")'
    )
    version = config.metadata.version
    return f"""\
Install gvtzoo with `pip install gvtzoo`; it downloads the model by its name
(`{repository}@{version}` stays with this version). Other programs take a zip:

```sh
python -m zipfile -c MODEL.zip "$(gvtzoo download {repository})"/*
```

{by_name}
  Without a zip: `load_model_description("huggingface/{repository}/{version}")`."""
