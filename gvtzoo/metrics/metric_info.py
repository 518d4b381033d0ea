"""What metrics are called, in which direction they are better, and what they say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class Description:
    """A metric in words.

    Attributes
    ----------
    label : str
        For axes and headers, with the unit.
    better : {"higher", "lower"}, optional
        None where neither is.
    meaning : str
        One sentence; empty where nothing is known.
    """

    label: str
    better: Better | None = None
    meaning: str = ""

    @property
    def arrow(self) -> str:
        """↑ where higher is better, ↓ where lower is."""
        return {"higher": "↑", "lower": "↓", None: ""}[self.better]


_FITTED = (
    "The truth is normalized to its 0.1 and 99.9 percentiles, and the prediction fitted to it "
    "(offset and factor) before"
)
DESCRIPTIONS = {
    "r": Description(
        "Pearson r",
        "higher",
        "Correlation of prediction and truth over all voxels: 1 is perfect, 0 is none.",
    ),
    "nrmse": Description(
        "NRMSE",
        "lower",
        f"Root of the mean squared error, as a share of the truth’s range. {_FITTED}.",
    ),
    "psnr": Description(
        "PSNR (dB)",
        "higher",
        "Peak signal-to-noise ratio: the range against the root of the mean squared error, in "
        f"decibels; 6 dB more is half the error. {_FITTED}.",
    ),
    "ssim": Description(
        "SSIM",
        "higher",
        "Structural similarity of windows of 7 voxels (brightness, contrast, structure): 1 is "
        f"perfect. {_FITTED}.",
    ),
    "mse": Description(
        "MSE", "lower", "Mean squared error of raw voxels, in squared units of the images."
    ),
    "mae": Description(
        "MAE", "lower", "Mean absolute error of raw voxels, in units of the images."
    ),
    "r2": Description(
        "R²",
        "higher",
        "Share of the truth’s variance that the raw prediction explains: 1 is perfect, 0 no "
        "better than the truth’s mean, less than 0 worse.",
    ),
    "ssim_slices": Description(
        "SSIM of slices", "higher", "SSIM of every xy slice by itself, and the mean of them."
    ),
    "resolution": Description(
        "Resolution",
        "lower",
        "The finest detail (period) at which prediction and truth still agree, by Fourier ring or "
        "shell correlation; in µm where the voxel size is known, else in voxels.",
    ),
    "foreground_iou": Description(
        "Foreground IoU",
        "higher",
        "Overlap of the bright regions of both images (intersection over union): 1 is perfect.",
    ),
    "foreground_dice": Description(
        "Foreground Dice",
        "higher",
        "Overlap of the bright regions of both images (twice the intersection over the sum): 1 is "
        "perfect.",
    ),
    "count": Description(
        "Objects", None, "How many objects a threshold (Otsu’s) finds in the prediction."
    ),
    "count_target": Description("Objects in the truth", None, "How many it finds in the truth."),
    "object_f1": Description(
        "Object F1",
        "higher",
        "Share of objects that are found in both images at the same place: 1 is perfect.",
    ),
    "mean_matched_iou": Description(
        "Object IoU", "higher", "Mean overlap of the objects that are found in both images."
    ),
}


def describe(metric: str) -> Description:
    """A metric's description; one that is not known keeps its name."""
    return DESCRIPTIONS.get(metric, Description(metric))


def has_winner(metric: str) -> bool:
    """Whether one of two values is better: not so of counts."""
    return metric not in DESCRIPTIONS or DESCRIPTIONS[metric].better is not None
