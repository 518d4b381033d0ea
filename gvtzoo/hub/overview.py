"""A model at a glance: what it is for, what it takes, how good it is. Nothing heavy is imported."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from gvtzoo.hub.index import Entry
from gvtzoo.hub.listing import PackagedModel, PackagedNetwork
from gvtzoo.recipes.metadata import ORIGINS, MetricRow, ModelMetadata

FLATTEN = ("projection", "care_projection")  # architectures: 3D in, 2D out
SCORES = ("SSIM", "r")  # the first that was measured is compared
# What is measured beside filters: other networks, models of the zoo, and the image as it is.
NETWORKS = ("U-Net", "CARE", "N2V", "gvtnet-", *{origin.title for origin in ORIGINS.values()})
UNCHANGED = "input"
OWN = "GVTNet"
MEGABYTE = 10**6


class OverviewNetwork(PackagedNetwork, extra="ignore"):
    """What an overview says of a package's network."""

    architecture: str = "gvtnet"


class OverviewConfig(PackagedModel, extra="ignore"):
    """What an overview says of a package: a part of its ``config.gvtzoo``."""

    network: OverviewNetwork
    pixel_size: dict[str, float] = Field(default_factory=dict)
    unit: str | None = None
    uncertainty: bool = False
    resampled_to: float | None = None


@dataclass(frozen=True)
class Score:
    """The highest score of a model, and that of the best simple filter on the same images.

    Attributes
    ----------
    metric : str
    value : float
    data : str
        The images, with their condition.
    rival : str
        The filter, or nothing where none was measured.
    rival_value : float
    ahead, conditions : int
        In how many of all conditions, such as noise levels, no filter is as good.
    """

    metric: str
    value: float
    data: str
    rival: str = ""
    rival_value: float = 0.0
    ahead: int = 0
    conditions: int = 1

    @property
    def text(self) -> str:
        """In a sentence, that says so where the filter is better."""
        own = f"{self.metric} {self.value:.3f}"
        if not self.rival:
            return f"{own} on {self.data}; no simple filter was measured"
        other = f"{self.rival_value:.3f} by the best simple filter, {self.rival}"
        worse = "" if self.value > self.rival_value else "; the filter is not worse"
        counted = f"; ahead in {self.ahead} of {self.conditions} conditions"
        many = counted if self.conditions > 1 else ""
        return f"{own} against {other}{worse}; on {self.data}{many}"


def best_score(rows: Sequence[MetricRow], own: str = OWN) -> Score | None:
    """The model's highest SSIM (else r), with the best simple filter of the same images.

    Parameters
    ----------
    rows : sequence of MetricRow
    own : str
        What the model is called in them.
    """
    for metric in SCORES:
        mine = [row for row in rows if row.method == own and metric in row.values]
        if not mine:
            continue
        best = max(mine, key=lambda row: row.values[metric])
        data = ", ".join(part for part in (best.data, best.condition) if part)
        rivals = [_rival(row, rows, metric) for row in mine]
        rival = rivals[mine.index(best)]
        if rival is None:
            return Score(metric, best.values[metric], data)
        name = re.split(r", | \(", rival.method)[0]  # without its settings
        pairs = [(row, other) for row, other in zip(mine, rivals, strict=True) if other is not None]
        ahead = sum(row.values[metric] > other.values[metric] for row, other in pairs)
        values = best.values[metric], data, name, rival.values[metric]
        return Score(metric, *values, ahead=ahead, conditions=len(pairs))
    return None


def _rival(own: MetricRow, rows: Sequence[MetricRow], metric: str) -> MetricRow | None:
    """The best simple filter on the same images, where one was measured."""
    rivals = [
        row
        for row in rows
        if (row.data, row.condition) == (own.data, own.condition)
        and metric in row.values
        and row.method not in (own.method, UNCHANGED)
        and not any(name in row.method for name in NETWORKS)
    ]
    return max(rivals, key=lambda row: row.values[metric], default=None)


def overview_of_package(config: dict[str, Any], name: str) -> list[tuple[str, str]]:
    """Labels and texts of a package's overview.

    Parameters
    ----------
    config : dict
        Its ``config.gvtzoo``.
    name : str
        By which commands take it.

    Raises
    ------
    pydantic.ValidationError
        When the mapping is not gvtzoo's.
    """
    model = OverviewConfig.model_validate(config)
    flat = model.network.architecture in FLATTEN
    voxel = voxel_size(model.pixel_size, model.unit)
    if model.resampled_to is not None:
        voxel = f"in plane {model.resampled_to:g} µm, to which images are resampled, and back"
    own = (
        ORIGINS[model.network.architecture].title if model.network.architecture in ORIGINS else OWN
    )
    sigma = " --uncertainty" if model.uncertainty else ""
    return [
        *_purpose(model.metadata),
        ("takes", takes(model.network.dimensions, 2 if flat else model.network.dimensions)),
        ("voxel size", voxel or "not stated"),
        ("uncertainty", "yes, σ of every voxel" if model.uncertainty else "no"),
        ("score", _score(model.metrics, own)),
        *_origin(model.metadata),
        ("use it", f"gvtzoo predict {name} IMAGE -o OUT.tif{sigma}"),
        ("more", f"gvtzoo info {name} --metrics, --details; gvtzoo preview {name} IMAGE"),
    ]


def overview_of_entry(entry: Entry) -> list[tuple[str, str]]:
    """As `overview_of_package`, of a model of the zoo that is not here."""
    size = f"{entry.checkpoint.size / MEGABYTE:.0f} MB" if entry.checkpoint else ""
    return [
        *_purpose(entry.metadata),
        ("takes", takes(entry.dimensions, entry.output_dimensions)),
        ("score", _score(entry.metrics, OWN)),
        *_origin(entry.metadata),
        ("where", f"not here yet: {size} to download, on first use or by the next line"),
        *[("get it", command) for command in entry.commands],
        ("more", f"gvtzoo info {entry.id} --details"),
    ]


def takes(dimensions: int, output_dimensions: int) -> str:
    """Axes in and out, and of which size."""
    return f"{axes(dimensions, output_dimensions)}, any size; time and position are looped over"


def axes(dimensions: int, output_dimensions: int) -> str:
    """Spatial axes in and out."""
    return f"{'ZYX'[-dimensions:]} → {'ZYX'[-output_dimensions:]}"


def voxel_size(sizes: Mapping[Any, float], unit: str | None) -> str:
    """Sizes by axis, with their unit; empty where none is known."""
    known = [f"{axis} {sizes[axis]:g}" for axis in "zyx" if axis in sizes]
    return f"{', '.join(known)} {unit or ''}".strip() if known else ""


def name_line(metadata: ModelMetadata) -> tuple[str, str]:
    """For people, and in brackets for commands."""
    return "name", f"{metadata.name} ({metadata.id} {metadata.version})"


def license_line(metadata: ModelMetadata) -> tuple[str, str]:
    """Of the weights."""
    return "license", f"{metadata.license or 'none given'} (weights)"


def _purpose(metadata: ModelMetadata) -> list[tuple[str, str]]:
    return [
        name_line(metadata),
        ("does", metadata.description),
        ("made for", metadata.intended_use),
        ("limits", metadata.limitations),
    ]


def _origin(metadata: ModelMetadata) -> list[tuple[str, str]]:
    first = next(iter(metadata.cite), None)
    paper = (
        "" if first is None else f"https://doi.org/{first.doi}" if first.doi else first.url or ""
    )
    return [license_line(metadata), ("cite", paper)]


def _score(rows: Sequence[MetricRow], own: str) -> str:
    found = best_score(rows, own)
    if found is not None:
        return found.text
    return f"{len(rows)} rows, by --metrics" if rows else "not yet measured"
