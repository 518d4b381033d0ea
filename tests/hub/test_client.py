import pytest

from gvtzoo.core.errors import GvtzooError
from gvtzoo.hub.client import attention_file, client_package, has_client
from gvtzoo.hub.listing import list_models
from gvtzoo.hub.registry import bundled_models
from gvtzoo.networks.fixed_attention import digest, load_constants, operators
from gvtzoo.packages.reader import open_package


def test_what_the_zoo_keeps_fits_its_models():
    names = [name for name in bundled_models() if has_client(name)]
    assert names
    for name in names:
        constants = load_constants(attention_file(name))
        network = open_package(bundled_models()[name]).build_network()
        assert constants.weights == digest(network)
        assert {loss["image"] for loss in constants.losses} and constants.images
        for operator_name, operator in operators(network).items():
            matrix = constants.matrices[operator_name]
            values = operator.value.convolution.out_channels // operator.heads
            assert matrix.shape[:2] == (operator.heads, values)
        assert constants.scale > 0


def test_models_without_are_named_with_the_way_to_one(tmp_path):
    assert not has_client("gvtnet-label-free-dna")
    with pytest.raises(GvtzooError, match="--attention-from"):
        client_package("gvtnet-label-free-dna", tmp_path / "client.zip")


def test_the_list_says_which_models_have_one():
    listed = {model.name: model.as_dict()["client"] for model in list_models()}
    assert listed == {name: has_client(name) for name in listed}
