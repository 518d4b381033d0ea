"""Sample images for each of the zoo's tasks: what its models were tested on."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from gvtzoo.napari.files import LayerData, image_layer


def noisy_nuclei() -> list[LayerData]:
    """Nuclei recorded with 8 photons a voxel, and the truth."""
    from gvtzoo.demo import demo_images

    noisy, truth = demo_images()
    return [image_layer(noisy, "nuclei, 8 photons"), image_layer(truth, "nuclei, truth")]


def exposures() -> list[LayerData]:
    """A short exposure."""
    return [_sample("gvtnet-denoising-exposures", "short exposure")]


def phase() -> list[LayerData]:
    """Thirteen planes of phase contrast."""
    return [_sample("gvtnet-label-free-phase-to-dapi", "phase contrast")]


def notum() -> list[LayerData]:
    """An epithelium on a curved surface."""
    return [_sample("gvtnet-projection-notum", "notum")]


def _sample(model: str, name: str) -> LayerData:
    """The sample input of a package that comes with gvtzoo."""
    from gvtzoo.hub.registry import find_model
    from gvtzoo.images.files import read_image
    from gvtzoo.packages.reader import LARGEST_TENSOR, open_package

    package = open_package(find_model(model))
    content = package.read(package.rdf["inputs"][0]["sample_tensor"]["source"], LARGEST_TENSOR)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "sample.tif"
        path.write_bytes(content)
        image = read_image(path, keep_channels=True)
    if image.sizes.get("c") == 1:
        image = image.isel(c=0, drop=True)
    channels = package.config.network.input_channels
    if channels > 1 and "z" not in image.dims:
        image = image.rename(c="z")  # planes that the network takes as channels
    return image_layer(image, name)
