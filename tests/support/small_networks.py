"""Networks so small that tests make packages and train them in seconds."""

from __future__ import annotations

from gvtzoo.networks.config import NetworkConfig

SMALL = {
    "depth": 2,
    "features": 4,
    "encoder_blocks": (1, 0),
    "downsampling": ("convolution",),
    "upsampling": ("gvto_v2",),
    "decoder_blocks": (1,),
}
DENOISING = {**SMALL, "skip": "concatenate", "batch_norm": False, "add_input": True}
FLAT = NetworkConfig(**SMALL, dimensions=2, uncertainty=True)
