"""The picture of docs: what a prediction looks like in programs that cut images.

    python release/client_pictures.py FOLDER --data FOLDER -o docs/howto/clients.png

FOLDER holds what `release/measure_clients.py` has made of gvtnet-denoising-exposures; the client
package is made from the image shown. The programs are simulated (`gvtzoo.packages.clients`), not
run.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from gvtzoo.hub.load import load_own
from gvtzoo.images.lazy import LazyImage
from gvtzoo.packages.checks import _engine, predict_normalized, whole_in_units_of
from gvtzoo.packages.client_package import write_client_package
from gvtzoo.packages.clients import CLIENTS, TileSizes, loss
from gvtzoo.packages.reader import open_package
from gvtzoo.prediction.fix_attention import constants_of
from gvtzoo.prediction.settings import as_data_array
from release.measure_clients import test_image

NAME = "gvtnet-denoising-exposures"
PROGRAMS = ("Fiji (JDLL)", "ilastik", "QuPath")
SHOWN = 0.1  # of the range, that is black or white in a difference


def main() -> None:
    """Predict and draw."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    plain = open_package(arguments.folder / f"{NAME}.zip")
    image, _ = test_image(plain, arguments.data)
    whole = predict_normalized(plain, image, plain.build_network())
    figure, axes = pyplot.subplots(3, 3, figsize=(10.5, 7.6), layout="constrained")
    low, high = np.percentile(whole, (1, 99.5))
    first = image[0, 0]
    axes[0, 0].imshow(first, cmap="gray", vmin=first.min(), vmax=np.percentile(first, 99.5))
    axes[0, 0].set_title("image (six, side by side)")
    axes[0, 1].imshow(whole[0, 0], cmap="gray", vmin=low, vmax=high)
    axes[0, 1].set_title("prediction of the whole image (gvtzoo)")
    model = load_own(plain.path)
    shown = replace(LazyImage.of(as_data_array(first, None, model.axes)), name="the image shown")
    client = arguments.folder / "of_this_image.zip"
    write_client_package(plain.path, constants_of(model, [shown]), client, overwrite=True)
    rows = (("model.zip", plain), ("made from this image", open_package(client)))
    for row, (kind, package) in enumerate(rows, start=1):
        network = package.build_network()
        for column, program in enumerate(PROGRAMS):
            weights = "onnx" if program == "QuPath" else "torchscript"
            run = _engine(package, weights, network)
            operations = package.rdf["inputs"][0]["preprocessing"]
            outcome = CLIENTS[program](image, run, TileSizes.of(package.rdf), operations)
            expected = whole if row == 1 else whole_in_units_of(package, plain, image)
            difference = (outcome.prediction - expected)[0, 0] / np.ptp(expected)
            axes[row, column].imshow(difference, cmap="RdBu_r", vmin=-SHOWN, vmax=SHOWN)
            largest, correlation, _ = loss(outcome, expected)
            axes[row, column].set_title(
                f"{program}, {kind}\nlargest {100 * largest:.2g} %, r {correlation:.5f}", size=9
            )
            if program == "ilastik" and row == 1:
                axes[0, 2].imshow(outcome.prediction[0, 0], cmap="gray", vmin=low, vmax=high)
                axes[0, 2].set_title("ilastik, model.zip")
    for axis in axes.flat:
        axis.set_axis_off()
    figure.savefig(arguments.output, dpi=90)


if __name__ == "__main__":
    main()
