"""One layer of settings on another: what recipes extend, and ``--set`` replaces.

Mappings are merged, everything else is replaced; but settings of one architecture mean nothing to
another one, which therefore starts from its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gvtzoo.core.layered_yaml import merge
from gvtzoo.recipes.metadata import ORIGINS, PAPER, default_metadata

SHARED = ("input_channels", "output_channels", "uncertainty")  # follow from the data and the loss
ABOUT_DATA = ("license", "authors", "tags", "structure", "data", "intended_use")
TASKS = ("label_free", "denoising", "projection")


def layer(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's settings with changes, neither of them checked.

    Examples
    --------
    >>> layer({"network": {"preset": "denoising", "input_channels": 3}}, {"network": "fnet"})
    {'network': {'input_channels': 3, 'architecture': 'fnet'}}
    """
    base, changes = named(base), named(changes)
    before, after = family(base.get("network")), family(changes.get("network"))
    if before is None or after is None or before == after:
        return merge(base, changes)
    network = base["network"]
    base = {**base, "network": {key: network[key] for key in SHARED if key in network}}
    if isinstance(base.get("model"), Mapping):
        base["model"] = _described_anew({**base, **changes}, base["model"], after)
    return merge(base, changes)


def named(values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, with ``network: NAME`` written out."""
    network = values.get("network")
    if not isinstance(network, str):
        return dict(values)
    return {**values, "network": {"architecture": network}}


def family(network: Any) -> str | None:
    """What settings of a network belong together: all GVTNets' do; None if that is left open."""
    if not isinstance(network, Mapping):
        return None
    architecture = network.get("architecture")
    if isinstance(architecture, str) and architecture in ORIGINS:
        return "gvtnet" if ORIGINS[architecture].paper is PAPER else architecture
    return "gvtnet" if "preset" in network else None


def _described_anew(
    values: Mapping[str, Any], model: Mapping[str, Any], architecture: str
) -> dict[str, Any]:
    """The description of a model of another architecture: what was said of the data remains."""
    name, task = values.get("name"), values.get("task")
    if not isinstance(name, str) or task not in TASKS:
        return dict(model)  # refused anyhow
    new = default_metadata(name, task, architecture).model_dump(mode="json")
    kept = {key: model[key] for key in ABOUT_DATA if key in model}
    cited = model.get("cite")
    if isinstance(cited, list):
        dois = {PAPER.doi, *(entry["doi"] for entry in new["cite"])}
        of_data = [c for c in cited if not (isinstance(c, Mapping) and c.get("doi") in dois)]
        new["cite"] = [*new["cite"], *of_data]
    return {**new, **kept}
