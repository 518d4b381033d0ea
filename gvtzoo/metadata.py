"""What describes a model to people: name, task, licence, authors, data, citations."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Task = Literal["label_free", "denoising", "projection"]

MODEL_ID = r"^[a-z0-9][a-z0-9.-]*$"


class Described(BaseModel):
    """A part of the description: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Author(Described):
    """A person or group, as the card and the package name them."""

    name: str
    affiliation: str | None = None
    orcid: str | None = None


class Citation(Described):
    """A publication; a DOI or a URL is needed."""

    text: str
    doi: str | None = None
    url: str | None = None

    @model_validator(mode="after")
    def _check_link(self) -> Citation:
        if self.doi is None and self.url is None:
            raise ValueError(f"citation {self.text!r} needs a doi or a url")
        return self


class DataSource(Described):
    """A data set that the model was trained or tested on."""

    name: str
    license: str
    url: str | None = None
    citation: Citation | None = None
    split: str = ""


class MetricRow(BaseModel):
    """One row of the table of metrics: what was measured on what, then named numbers.

    Examples
    --------
    >>> MetricRow(data="nuclei, test slices", condition="10 photons", method="GVTNet", SSIM=0.91)
    MetricRow(data='nuclei, test slices', condition='10 photons', method='GVTNet', SSIM=0.91)
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, float]

    data: str
    condition: str = ""
    method: str

    @property
    def values(self) -> dict[str, float]:
        """The numbers, by the metric's name."""
        return dict(self.__pydantic_extra__)


class ModelMetadata(Described):
    """What a model's package and card say of it, beyond what is measured.

    Attributes
    ----------
    id : str
        Lower case, as ``gvtzoo predict`` names the model.
    name : str
        For people; 5 to 128 characters.
    version : str
        Of the weights, ``major.minor.patch``.
    description : str
        One sentence.
    license : str
        SPDX identifier of the licence *of the weights*.
    authors : tuple of Author
    cite : tuple of Citation
        The paper, and the data's publications.
    tags : tuple of str
    structure : str
        What the images show.
    data : tuple of DataSource
    parent : str, optional
        The id of the model that this one was fine-tuned from.
    intended_use, limitations : str
        Paragraphs of the documentation.
    """

    id: Annotated[str, StringConstraints(pattern=MODEL_ID)]
    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_+\- ()]{5,128}$")]
    version: Annotated[str, StringConstraints(pattern=r"^\d+\.\d+\.\d+$")] = "1.0.0"
    description: str
    license: str = "BSD-3-Clause"
    authors: tuple[Author, ...] = Field(min_length=1)
    cite: tuple[Citation, ...] = ()
    tags: tuple[str, ...] = ()
    structure: str = ""
    data: tuple[DataSource, ...] = ()
    parent: str | None = None
    intended_use: str = ""
    limitations: str = ""


PAPER = Citation(
    text=(
        "Wang, Z., Xie, Y., Ji, S. Global voxel transformer networks for augmented microscopy. "
        "Nature Machine Intelligence 3, 161-171 (2021)"
    ),
    doi="10.1038/s42256-020-00283-x",
)


def default_metadata(name: str, task: Task) -> ModelMetadata:
    """Metadata of a model that nobody has described yet, from its recipe's name."""
    identifier = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "model"
    return ModelMetadata(
        id=f"gvtnet-{identifier}",
        name=f"GVTNet {re.sub(r'[^A-Za-z0-9]+', ' ', name).strip()}"[:128],
        description=f"A GVTNet for {task.replace('_', '-')} ({name}).",
        authors=(Author(name="unknown"),),
        cite=(PAPER,),
    )
