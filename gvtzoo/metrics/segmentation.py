"""What a biologist counts: objects found by a threshold, in the prediction and in the target.

The segmenter is deliberately plain, so that differences come from the images: both are smoothed,
cut at their own Otsu threshold, and split into connected components.
"""

from __future__ import annotations

import numpy as np

from gvtzoo.core.errors import GvtzooError

MATCH = 0.5  # IoU from which two objects are the same


def segment(image: np.ndarray, *, smoothing: float = 1.0, smallest: int = 20) -> np.ndarray:
    """Label bright objects.

    A Gaussian filter, the threshold of Otsu ("A threshold selection method from gray-level
    histograms", IEEE Transactions on Systems, Man, and Cybernetics 9 (1979), 62-66), and connected
    components (voxels that share a face). An affine change of the intensities, unless it is
    negative, changes nothing.

    Parameters
    ----------
    image : ndarray
        (z,) y, x, in any units.
    smoothing : float
        Standard deviation of the Gaussian, in voxels; 0 for none.
    smallest : int
        Objects of fewer voxels are removed.

    Returns
    -------
    ndarray
        Of the same shape, integers: 0 is background, objects are 1, 2, … without gaps. All 0 where
        the image is constant.

    Raises
    ------
    GvtzooError
        When the image is empty or not finite, or `smoothing` is negative.
    """
    from scipy.ndimage import gaussian_filter
    from skimage.filters import threshold_otsu
    from skimage.measure import label

    _check_image(image, smoothing)
    if image.min() == image.max():
        return np.zeros(image.shape, np.int64)
    smooth = gaussian_filter(image.astype(np.float64), smoothing)
    labels = label(smooth > threshold_otsu(smooth), connectivity=1)
    return _remove_small(labels, smallest)


def compare_segmentations(
    target_labels: np.ndarray, predicted_labels: np.ndarray
) -> dict[str, float]:
    """Overlap of foregrounds, and of objects that are matched.

    IoU is intersection / union, Dice 2 · intersection / (sum of sizes). Objects are matched
    one-to-one, as many as can be, where their IoU is at least 0.5; F1 is 2 · matches / (objects of
    both). Each is 0 where only one image has objects, and 1 where neither has any: they agree.

    Parameters
    ----------
    target_labels, predicted_labels : ndarray
        Integers of the same shape, 0 for background, one number per object.

    Returns
    -------
    dict
        ``foreground_iou``, ``foreground_dice``, ``count`` (predicted objects), ``count_target``,
        ``object_f1``, ``mean_matched_iou`` (0 where objects exist and none match).

    Raises
    ------
    GvtzooError
        When shapes differ.
    """
    if target_labels.shape != predicted_labels.shape:
        raise GvtzooError(
            f"target {target_labels.shape} and prediction {predicted_labels.shape} differ in shape"
        )
    target, predicted = target_labels > 0, predicted_labels > 0
    both, either = int((target & predicted).sum()), int((target | predicted).sum())
    count_target, count = (_count(labels) for labels in (target_labels, predicted_labels))
    matched = _matched_ious(target_labels, predicted_labels)
    return {
        "foreground_iou": _share(both, either),
        "foreground_dice": _share(2 * both, both + either),
        "count": float(count),
        "count_target": float(count_target),
        "object_f1": _share(2 * matched.size, count + count_target),
        "mean_matched_iou": float(matched.mean()) if matched.size else _share(0, either),
    }


def evaluate_segmentation(
    target: np.ndarray, prediction: np.ndarray, *, smoothing: float = 1.0, smallest: int = 20
) -> dict[str, float]:
    """Segment the target and the prediction alike, each at its own threshold, and compare.

    Parameters
    ----------
    target, prediction : ndarray
        (z,) y, x, the same shape; units may differ.
    smoothing : float
        As of `segment`.
    smallest : int
        As of `segment`.

    Returns
    -------
    dict
        As of `compare_segmentations`.

    Raises
    ------
    GvtzooError
        When shapes differ, or voxels are not finite.
    """
    labels = [
        segment(image, smoothing=smoothing, smallest=smallest) for image in (target, prediction)
    ]
    return compare_segmentations(*labels)


def _check_image(image: np.ndarray, smoothing: float) -> None:
    if image.size == 0:
        raise GvtzooError(f"an image of shape {image.shape} is empty and cannot be segmented")
    if not np.isfinite(image).all():
        raise GvtzooError("the image has voxels that are not finite (NaN or infinite)")
    if smoothing < 0:
        raise GvtzooError(f"smoothing has to be 0 or more voxels, not {smoothing:g}")


def _remove_small(labels: np.ndarray, smallest: int) -> np.ndarray:
    kept = np.bincount(labels.ravel()) >= smallest
    kept[0] = False  # background
    numbers = np.where(kept, np.cumsum(kept), 0)
    return numbers[labels]


def _count(labels: np.ndarray) -> int:
    return int(np.unique(labels[labels > 0]).size)


def _matched_ious(target_labels: np.ndarray, predicted_labels: np.ndarray) -> np.ndarray:
    """IoU of each pair of matched objects.

    Above an IoU of 0.5 an object has one partner at most; only ties at 0.5 have to be assigned.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    _, target = np.unique(target_labels, return_inverse=True)
    _, predicted = np.unique(predicted_labels, return_inverse=True)
    target_sizes, predicted_sizes = np.bincount(target.ravel()), np.bincount(predicted.ravel())
    inside = ((target_labels > 0) & (predicted_labels > 0)).ravel()
    pairs, overlaps = np.unique(
        np.stack([target.ravel()[inside], predicted.ravel()[inside]]), axis=1, return_counts=True
    )
    rows, columns = pairs
    ious = overlaps / (target_sizes[rows] + predicted_sizes[columns] - overlaps)
    same = ious >= MATCH
    shape = target_sizes.size, predicted_sizes.size
    candidates = csr_array((ious[same], (rows[same], columns[same])), shape=shape)
    partner = maximum_bipartite_matching(candidates, perm_type="column")
    return np.asarray(ious[same & (partner[rows] == columns)])


def _share(part: int, whole: int) -> float:
    """part / whole; 1 where there is nothing to be part of."""
    return part / whole if whole else 1.0
