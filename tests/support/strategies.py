"""Hypothesis strategies that several tests share."""

from __future__ import annotations

import os

from hypothesis import settings
from hypothesis import strategies as st

from gvtzoo.networks import AttentionConfig, AttentionConfigs, NetworkConfig

FULL = os.environ.get("GVTZOO_FUZZ") == "1"


def examples(number: int) -> settings:
    """So many examples, each as long as it takes; ten times as many where ``GVTZOO_FUZZ=1``."""
    return settings(max_examples=10 * number if FULL else number, deadline=None)


@st.composite
def configs(draw) -> NetworkConfig:
    depth = draw(st.integers(1, 3))
    steps = depth - 1
    blocks = st.integers(0, 2)
    skip = draw(st.sampled_from(["add", "concatenate"]))
    least = 1 if skip == "concatenate" else 0

    def attention() -> AttentionConfig:
        return AttentionConfig(
            heads=draw(st.sampled_from([1, 2])),
            value_ratio=draw(st.sampled_from([1, 2])),
            softmax=draw(st.booleans()),
            bias=draw(st.booleans()),
        )

    def names(*choices: str) -> st.SearchStrategy:
        return st.lists(st.sampled_from(choices), min_size=steps, max_size=steps)

    channels = draw(st.integers(1, 2))
    grain = draw(st.sampled_from([0.0, 0.5])) if channels == 2 else 0.0
    ups = ("transposed_convolution", "interpolation", "gvto_v1", "gvto_v2", "gvto_v2_interpolation")
    return NetworkConfig(
        dimensions=draw(st.sampled_from([2, 3])),
        input_channels=2,
        output_channels=channels,
        depth=depth,
        features=4,
        encoder_blocks=draw(st.lists(blocks, min_size=depth, max_size=depth)),
        downsampling=draw(names("convolution", "residual", "gvto_v1", "gvto_v2")),
        bottom=draw(st.lists(st.sampled_from(["gvto", "residual"]), max_size=2)),
        upsampling=draw(names(*ups)),
        decoder_blocks=draw(st.lists(st.integers(least, 2), min_size=steps, max_size=steps)),
        skip=skip,
        activation=draw(st.sampled_from(["relu", "relu6"])),
        batch_norm=draw(st.booleans()),
        attention=AttentionConfigs(same=attention(), down=attention(), up=attention()),
        output_kernel_size=draw(st.sampled_from([1, 3])),
        uncertainty=True,
        add_input=grain > 0,
        grain=grain,
    )
