"""Networks as Hugging Face's users save and load them."""

from __future__ import annotations

import json

import pytest
import torch

from gvtzoo.core.errors import GvtzooError
from gvtzoo.networks import DENOISING, PROJECTION, GVTNet, ProjectionGVTNet

SMALL = DENOISING.model_copy(update={"dimensions": 2, "features": 4, "uncertainty": True})


@pytest.mark.parametrize("config", [SMALL, PROJECTION], ids=["gvtnet", "projection"])
def test_a_saved_network_comes_back(config, tmp_path):
    network = config.build().eval()
    network.save_pretrained(tmp_path)
    found = type(network).from_pretrained(tmp_path)
    image = torch.rand(1, 1, *(8, 16, 16)[-config.dimensions :])
    assert not found.training
    with torch.no_grad():
        assert torch.equal(found(image), network(image))


def test_the_network_of_a_published_model(tmp_path):
    network = SMALL.build().eval()
    network.save_pretrained(tmp_path)
    config = {"task": "denoising", "uncertainty": True, "network": SMALL.model_dump(mode="json")}
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = GVTNet.from_pretrained(tmp_path)
    both = zip(found.parameters(), network.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in both)
    with pytest.raises(GvtzooError, match="kind 'gvtnet', not 'projection'"):
        ProjectionGVTNet.from_pretrained(tmp_path)


def test_weights_that_do_not_fit_are_refused(tmp_path):
    SMALL.build().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "uncertainty": False}))
    with pytest.raises(RuntimeError, match="Unexpected key"):
        GVTNet.from_pretrained(tmp_path)
