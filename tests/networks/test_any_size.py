import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gvtzoo.images.padding import pad_to_multiple
from gvtzoo.networks.any_size import AnySize, image_in_tile
from gvtzoo.networks.baselines import FNet
from gvtzoo.networks.gvtnet import GVTNet

MODES = ("reflect", "symmetric", "edge")


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return GVTNet(
        dimensions=2,
        depth=3,
        features=2,
        encoder_blocks=(1, 0, 0),
        downsampling=("convolution",) * 2,
        upsampling=("gvto_v2",) * 2,
        decoder_blocks=(1, 1),
        uncertainty=True,
    ).eval()


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40))
def test_any_size_is_padded_as_gvtzoo_does(network, height, width):
    x = torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(height))
    padded, crop = pad_to_multiple(x.numpy(), (1, 1, 4, 4))
    with torch.no_grad():
        expected = network(torch.from_numpy(padded))[crop]
        torch.testing.assert_close(AnySize(network)(x), expected, rtol=0, atol=0)


def test_sigma_instead_of_the_prediction(network):
    x = torch.rand(1, 1, 9, 11)
    with torch.no_grad():
        sigma = AnySize(network, sigma=True)(x)
    assert sigma.shape == x.shape
    assert (sigma > 0).all()


def test_weights_have_the_networks_names(network):
    wrapped = AnySize(network)
    assert wrapped.state_dict().keys() == network.state_dict().keys()
    wrapped.load_state_dict(network.state_dict())


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 30),
    st.integers(0, 30),
    st.integers(0, 30),
    st.sampled_from(MODES),
    st.sampled_from([0, 1]),
)
def test_what_programs_add_around_an_image_is_found(size, before, behind, mode, axis):
    halo = 5
    if mode == "edge":
        before, behind = (0 if n < halo else n for n in (before, behind))
    shape = [7, 8]
    shape[axis] = size
    image = np.random.default_rng(size).random((1, 1, *shape)).astype(np.float32)
    widths = [(0, 0)] * 4
    widths[axis + 2] = (before, behind)
    tile = torch.from_numpy(np.pad(image, widths, mode=mode))
    found = tuple(int(n) for n in image_in_tile(tile, axis + 2, halo))
    # A tile that is its own mirror image, as a b a, does not tell which of its ends was made up.
    same_both_ways = torch.equal(tile, tile.flip(axis + 2))
    # Far beyond an image that is smaller than its margin, its mirror images are taken for it.
    if max(before, behind) < size and not same_both_ways:
        assert found == (before, behind)


def test_a_margin_behind_another_one_is_found():
    image = np.random.default_rng(0).random((1, 1, 20, 9)).astype(np.float32)
    widths = [(0, 0), (0, 0), (5, 5), (0, 0)]
    tile = np.pad(image, widths, mode="edge")
    tile = np.pad(tile, [(0, 0), (0, 0), (8, 9), (0, 0)], mode="symmetric")
    assert tuple(map(int, image_in_tile(torch.from_numpy(tile), 2, 5))) == (13, 14)


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_empty_parts_of_an_image_are_no_border(value):
    image = torch.rand(1, 1, 40, 9)
    image[:, :, :20] = value
    assert tuple(map(int, image_in_tile(image, 2, 5))) == (0, 0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(41, 38), (24, 30)])
def test_a_local_network_gives_in_a_margin_what_it_gives_alone(mode, size):
    torch.manual_seed(1)
    local = FNet(2, depth=2, features=2).eval()
    tiles = {"halo": [24, 24], "front": [0, 1], "back": [1, 1]}
    x = np.random.default_rng(0).random((1, 1, *size)).astype(np.float32)
    wide = np.pad(x, [(0, 0), (0, 0), (24, 24), (24, 30)], mode=mode)
    with torch.no_grad():
        alone = AnySize(local, tiles)(torch.from_numpy(x))
        found = AnySize(local, tiles)(torch.from_numpy(wide))
    torch.testing.assert_close(found[..., 24:-24, 24:-30], alone, rtol=0, atol=1e-6)
