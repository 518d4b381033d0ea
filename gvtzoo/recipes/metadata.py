"""What describes a model to people: name, task, licence, authors, data, citations."""

from __future__ import annotations

import re
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from gvtzoo.core.strict import Strict

Task = Literal["label_free", "denoising", "projection"]

MODEL_ID = r"^[a-z0-9][a-z0-9.-]*$"
ORCID = r"^\d{4}-\d{4}-\d{4}-\d{3}[\dX]$"


class Author(Strict):
    """A person or group, as the card and the package name them."""

    name: str
    affiliation: str | None = None
    orcid: Annotated[str, StringConstraints(pattern=ORCID)] | None = None


class Maintainer(Strict):
    """Who answers questions: an account on GitHub, by which bioimage.io asks."""

    github_user: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,39}$")]
    name: str | None = None


class Citation(Strict):
    """A publication; a DOI or a URL is needed."""

    text: str
    doi: str | None = None
    url: str | None = None

    @model_validator(mode="after")
    def _check_link(self) -> Citation:
        if self.doi is None and self.url is None:
            raise ValueError(f"citation {self.text!r} needs a doi or a url")
        return self


class DataSource(Strict):
    """A data set that the model was trained or tested on; `bioimageio` is its id there."""

    name: str
    license: str
    bioimageio: str | None = None
    url: str | None = None
    citation: Citation | None = None
    split: str = ""


class MetricRow(BaseModel):
    """One row of the table of metrics: what was measured on what, then named numbers.

    `chose_weights` says that the images are those by which the model's weights were chosen, so that
    it is better on them than on others.

    Examples
    --------
    >>> MetricRow(data="nuclei, test slices", condition="10 photons", method="GVTNet", SSIM=0.91)
    MetricRow(data='nuclei, test slices', condition='10 photons', method='GVTNet', \
chose_weights=False, SSIM=0.91)
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, float]

    data: str
    condition: str = ""
    method: str
    chose_weights: bool = False

    @property
    def values(self) -> dict[str, float]:
        """The numbers, by the metric's name."""
        return dict(self.__pydantic_extra__)


class ModelMetadata(Strict):
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
        SPDX identifier of the licence *of the weights*; empty where none was given.
    authors : tuple of Author
    maintainers : tuple of Maintainer
    git_repo : str, optional
        Where the model is developed.
    cite : tuple of Citation
        The paper, and the data's publications.
    tags : tuple of str
    structure : str
        What the images show.
    data : tuple of DataSource
    parent : str, optional
        The id of the model that this one was fine-tuned from.
    parent_data : tuple of DataSource
        What that one was trained on.
    base_model : str, optional
        ``ORG/NAME`` of that one on Hugging Face, where it was loaded from there.
    intended_use, limitations : str
        Paragraphs of the documentation.
    """

    id: Annotated[str, StringConstraints(pattern=MODEL_ID)]
    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_+\- ()]{5,128}$")]
    version: Annotated[str, StringConstraints(pattern=r"^\d+\.\d+\.\d+$")] = "1.0.0"
    description: str
    license: str = ""
    authors: tuple[Author, ...] = Field(min_length=1)
    maintainers: tuple[Maintainer, ...] = ()
    git_repo: Annotated[str, StringConstraints(pattern=r"^https://\S+$")] | None = None
    cite: tuple[Citation, ...] = ()
    tags: tuple[str, ...] = ()
    structure: str = ""
    data: tuple[DataSource, ...] = ()
    parent: str | None = None
    parent_data: tuple[DataSource, ...] = ()
    base_model: str | None = None
    intended_use: str = ""
    limitations: str = ""


UNKNOWN = Author(name="unknown")
"""Of models whose authors nobody has named yet."""

PAPER = Citation(
    text=(
        "Wang, Z., Xie, Y., Ji, S. Global voxel transformer networks for augmented microscopy. "
        "Nature Machine Intelligence 3, 161-171 (2021)"
    ),
    doi="10.1038/s42256-020-00283-x",
)


class Origin(NamedTuple):
    """What a network's architecture is called, and the paper that it is from."""

    title: str
    paper: Citation


CARE = Citation(
    text=(
        "Weigert, M. et al. Content-aware image restoration: pushing the limits of fluorescence "
        "microscopy. Nature Methods 15, 1090-1097 (2018)"
    ),
    doi="10.1038/s41592-018-0216-7",
)
ORIGINS = {
    "gvtnet": Origin("GVTNet", PAPER),
    "projection": Origin("GVTNet", PAPER),
    "fnet": Origin(
        "FNet",
        Citation(
            text=(
                "Ounkomol, C. et al. Label-free prediction of three-dimensional fluorescence "
                "images from transmitted-light microscopy. Nature Methods 15, 917-920 (2018)"
            ),
            doi="10.1038/s41592-018-0111-2",
        ),
    ),
    "care_unet": Origin("CARE U-Net", CARE),
    "care_projection": Origin("CARE", CARE),
    "rsgu_net": Origin(
        "RSGU-Net",
        Citation(
            text=(
                "Huang, J. et al. Range scaling global U-Net for perceptual image enhancement on "
                "mobile devices. ECCV 2018 Workshops, LNCS 11133, 230-242 (2019)"
            ),
            doi="10.1007/978-3-030-11021-5_15",
        ),
    ),
    "ce_net": Origin(
        "CE-Net",
        Citation(
            text=(
                "Gu, Z. et al. CE-Net: context encoder network for 2D medical image segmentation. "
                "IEEE Transactions on Medical Imaging 38, 2281-2292 (2019)"
            ),
            doi="10.1109/TMI.2019.2903562",
        ),
    ),
}
"""By the architecture's name in recipes."""


def default_metadata(name: str, task: Task, architecture: str = "gvtnet") -> ModelMetadata:
    """Metadata of a model that nobody has described yet, from its recipe's name.

    Parameters
    ----------
    name : str
        The recipe's.
    task : {"label_free", "denoising", "projection"}
    architecture : str
        The network's, which tells the paper to cite.
    """
    identifier = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "model"
    title, paper = ORIGINS[architecture]
    return ModelMetadata(
        id=f"{re.sub('[^a-z]+', '-', title.lower())}-{identifier}",
        name=f"{title} {re.sub(r'[^A-Za-z0-9]+', ' ', name).strip()}"[:128],
        description=f"{title} for {task.replace('_', '-')} ({name}).",
        authors=(UNKNOWN,),
        cite=(paper,),
    )
