"""A prediction from a fresh start, by gvtzoo and by CAREamics, each as its users would do it.

    python benchmarks/against_careamics.py --careamics PYTHON [--rounds 3]

PYTHON is the interpreter of an environment with CAREamics 0.3. Its Noise2Void network (the default
U-Net) is trained for a step, and loaded from its checkpoint; what it predicts does not matter here.
Images are TIFF; both predict the whole image at once and write it. Times are of whole processes,
imports included, in seconds of the processor, since cores may be shared; those of the two take
turns, and the median of the ratios counts.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import numpy as np
import tifffile

WHAT = "predict in a fresh process / CAREamics"
CASES = {
    "gvtnet-denoising-exposures": ((2048, 2048), "YX", (64, 64)),
    "gvtnet-denoising-nuclei": ((32, 256, 256), "ZYX", (16, 64, 64)),
}
TRAIN = """
import sys
import numpy as np
from careamics import CAREamist
from careamics.config.factories import create_n2v_config
axes, folder, *patch = sys.argv[1:]
config = create_n2v_config(
    experiment_name="n2v", data_type="array", axes=axes, patch_size=[int(size) for size in patch],
    batch_size=1, num_epochs=1, num_steps=1, n_val_patches=1,
)
images = np.random.default_rng(0).poisson(9, [2 * int(size) for size in patch]).astype(np.float32)
careamist = CAREamist(config, work_dir=folder)
careamist.train(train_data=images)
careamist.trainer.save_checkpoint(f"{folder}/n2v.ckpt")
"""
PREDICT = """
import sys
import tifffile
from careamics import CAREamist
checkpoint, image, output, folder = sys.argv[1:]
careamist = CAREamist(checkpoint_path=checkpoint, work_dir=folder, enable_progress_bar=False)
predictions, _ = careamist.predict(tifffile.imread(image), data_type="array", batch_size=1)
tifffile.imwrite(output, predictions[0])
"""


def main() -> None:
    """Print a row of Markdown for each image."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--careamics", required=True, help="its environment's interpreter")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    for what, name, ratio, note in measure(arguments.careamics, arguments.rounds):
        print(f"| {what} | {name} | {ratio:.2f} | {note} |", flush=True)


def measure(python: str, rounds: int) -> Iterator[tuple[str, str, float, str]]:
    """For every case: what is compared, the model, gvtzoo's time over CAREamics', and both."""
    for name, (shape, axes, patch) in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            image, output = f"{folder}/image.tif", f"{folder}/out.tif"
            counts = np.random.default_rng(0).poisson(9, shape).astype(np.uint16)
            tifffile.imwrite(image, counts, imagej=True, metadata={"axes": axes})
            seconds([python, "-c", TRAIN, axes, folder, *map(str, patch)])
            ours = [sys.executable, "-m", "gvtzoo", "predict", name, image, "-o", output]
            ours += ["--overwrite", "--device", "cpu"]
            theirs = [python, "-c", PREDICT, f"{folder}/n2v.ckpt", image, output, folder]
            seconds(ours)
            taken = [(seconds(ours), seconds(theirs)) for _ in range(rounds)]
        ratio = statistics.median(one / other for one, other in taken)
        size = "×".join(map(str, shape))
        one, other = (statistics.median(column) for column in zip(*taken, strict=True))
        yield WHAT, name, ratio, f"{size}: {one:.1f} s, {other:.1f} s"


def seconds(command: list[str]) -> float:
    """Processor time of a command, from its start to its end."""
    # As installed, with modules compiled: pip does that, and a checkout's are kept.
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment = {**kept, "OMP_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:3])} failed:\n{done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
