"""Time and peak memory of predictions, as ratios to the bare module on the same image.

    python benchmarks/prediction.py [--network denoising] [--size 32,512,512] [--modes whole,exact]

Modes
    module   the network called on a prepared tensor
    whole    gvtzoo, the image at once: with normalization, padding and their undoing
    exact    gvtzoo, tile by tile, in the memory of --memory
    files    gvtzoo, tile by tile, in the memory of --memory, from OME-Zarr to OME-Zarr
    blocks   gvtzoo, overlapping blocks
    core     bioimageio.core on the same package, the image at once (bundled models only)
    fnet     the label-free U-Net (23,280,769 parameters) instead of the network, bare
    care     the CARE U-Net instead of the network, bare

Networks are presets of gvtzoo, with random weights, or names of bundled models. Every prediction
runs in a process of its own on the same random counts. Memory is what the process took at its peak
beyond itself, its input and its output; on a GPU, what PyTorch took there. Differences are the
largest, as shares of the range of ``whole``.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

MODES = ("module", "whole", "exact", "files", "blocks", "core", "fnet", "care")
PRESETS = ("denoising", "label_free")
# In fresh networks attention makes up less than 1e-6 of the output's range, and any prediction
# without it would pass for exact. With its weights this much larger it makes up 0.4 to 1.4 %. Not
# more than that: operators are cubic in their input, and at three times these weights the whole
# image's own prediction is 2e-4 off what float64 gives.
ATTENTION_SCALE = 100


def main(
    network: Annotated[list[str] | None, typer.Option(help="Presets or bundled models.")] = None,
    size: Annotated[list[str] | None, typer.Option(help="z,y,x in voxels.")] = None,
    memory: Annotated[str, typer.Option(help="Budget of exact prediction.")] = "2GB",
    repeats: Annotated[int, typer.Option(help="Times each is measured; the best counts.")] = 1,
    modes: Annotated[str, typer.Option(help="Which of them.")] = ",".join(MODES),
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Print a table in Markdown."""
    print(
        "| network | size | mode | time | time / module | memory | memory / module | difference |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name in network or PRESETS:
        for shape in size or ["32,512,512"]:
            with tempfile.TemporaryDirectory() as folder:
                chosen = [
                    mode for mode in modes.split(",") if mode != "core" or name not in PRESETS
                ]
                print_rows(name, shape, memory, repeats, chosen, device, Path(folder))


def print_rows(
    name: str, size: str, memory: str, repeats: int, modes: list[str], device: str, folder: Path
) -> None:
    """Measure one network on one image in all modes."""
    rows: dict[str, dict] = {}
    for mode in modes:
        row = rows[mode] = measure(name, size, mode, memory, repeats, device, folder)
        first, whole = rows[modes[0]], rows.get("whole")
        compared = whole is not None and mode in ("exact", "files", "blocks")
        difference = f"{compare(row, whole):.1e}" if compared and whole else ""
        print(
            f"| {name} | {size.replace(',', '×')} | {mode} | {row['seconds']:.2f} s | "
            f"{row['seconds'] / first['seconds']:.2f} | {row['bytes'] / 1e9:.2f} GB | "
            f"{row['bytes'] / first['bytes']:.1%} | {difference} |",
            flush=True,
        )


def measure(
    name: str, size: str, mode: str, memory: str, repeats: int, device: str, folder: Path
) -> dict:
    """The fastest of several runs, and the memory of the hungriest."""
    output = str(folder / f"{mode}.npy")
    command = [sys.executable, __file__, "worker", name, size, mode, memory, device, output]
    rows = []
    for _ in range(repeats):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{mode} failed: {done.stderr}")
        rows.append(json.loads(done.stdout.splitlines()[-1]))
    return {
        "seconds": min(row["seconds"] for row in rows),
        "bytes": max(row["bytes"] for row in rows),
        "output": output,
    }


def compare(row: dict, whole: dict) -> float:
    """Largest difference to the whole image's prediction, as a share of its range."""
    import numpy as np

    expected = np.load(whole["output"], mmap_mode="r")
    return float(np.abs(np.load(row["output"]) - expected).max() / np.ptp(expected))


def worker(name: str, size: str, mode: str, memory: str, device: str, output: str) -> None:
    """One prediction; prints its time and its memory as JSON."""
    import numpy as np

    shape = tuple(map(int, size.split(",")))
    image = np.random.default_rng(0).poisson(50, shape).astype(np.uint16)
    predict = PREPARED[mode](name, mode, memory, device)
    predict(image[:16, :64, :64])
    before = peak_memory(device)
    start = time.perf_counter()
    result = np.asarray(predict(image))
    seconds = time.perf_counter() - start
    taken = peak_memory(device) - before - (result.nbytes if device == "cpu" else 0)
    np.save(output, result)
    print(json.dumps({"seconds": seconds, "bytes": max(taken, 1)}))


def model_of(name: str) -> Any:
    """A bundled model, or a preset with random weights and attention that matters."""
    import torch

    import gvtzoo
    from gvtzoo.networks import GVTO
    from gvtzoo.networks import PRESETS as CONFIGS
    from gvtzoo.packages.config import PackageConfig
    from gvtzoo.packages.importing import reference_normalization
    from gvtzoo.prediction.model import Model
    from gvtzoo.recipes.metadata import default_metadata

    if name not in CONFIGS:
        return gvtzoo.load(name)
    task: Any = name
    torch.manual_seed(0)
    network = CONFIGS[name].build().eval()
    for operator in network.modules():
        if isinstance(operator, GVTO):
            operator.value.convolution.weight.data.mul_(ATTENTION_SCALE)
            operator.output.convolution.weight.data.mul_(ATTENTION_SCALE)
    config = PackageConfig(
        task=task,
        network=CONFIGS[name],
        normalization=reference_normalization("denoising"),
        metadata=default_metadata(name, task),
    )
    return Model(network, config)


def through_module(name: str, mode: str, memory: str, device: str) -> Callable[[Any], Any]:
    """The network, or one of those that it is compared with, on a tensor."""
    import torch

    from gvtzoo.networks.baselines import CAREUNet, FNet
    from gvtzoo.prediction.engines import make_engine
    from gvtzoo.prediction.settings import Settings

    networks = {"fnet": FNet, "care": CAREUNet}
    network = networks[mode]() if mode in networks else model_of(name).network
    engine = make_engine(network.eval(), Settings(device=device, engine="torch"))
    network = engine.network

    def predict(image: Any) -> Any:
        tensor = torch.from_numpy(image.astype("float32"))[None, None].to(device)
        with torch.inference_mode():
            return network(tensor)[0, 0].cpu().numpy()

    return predict


def through_gvtzoo(name: str, mode: str, memory: str, device: str) -> Callable[[Any], Any]:
    """gvtzoo's own prediction."""
    from gvtzoo.prediction.memory import parse_memory

    model = model_of(name)
    budget = parse_memory(memory)
    return lambda image: model.predict(
        image, axes="ZYX", tiling=mode, memory=budget, device=device
    ).to_numpy()


def through_files(name: str, mode: str, memory: str, device: str) -> Callable[[Any], Any]:
    """gvtzoo's prediction from file to file; the result is read again."""
    import xarray

    from gvtzoo.images.files import open_image, read_image, write_image
    from gvtzoo.prediction.exact.out_of_core import Output, predict_large
    from gvtzoo.prediction.memory import parse_memory
    from gvtzoo.prediction.settings import Settings

    model = model_of(name)
    how = Settings(device=device, tiling="exact", memory=parse_memory(memory))
    folder = Path(tempfile.mkdtemp())

    def predict(image: Any) -> Any:
        size = image.size
        source, output = folder / f"{size}.zarr", Output(folder / f"{size}_out.zarr")
        write_image(source, xarray.DataArray(image, dims=("z", "y", "x")))
        predict_large(model, open_image(source), output, how, identity="")
        return read_image(output.path).to_numpy()

    return predict


def through_core(name: str, mode: str, memory: str, device: str) -> Callable[[Any], Any]:
    """bioimageio.core, with the PyTorch weights."""
    from bioimageio.core import create_prediction_pipeline
    from bioimageio.core.digest_spec import get_member_ids
    from bioimageio.core.sample import Sample
    from bioimageio.core.tensor import Tensor
    from bioimageio.spec import load_model_description

    from gvtzoo.hub.registry import find_model

    description = load_model_description(find_model(name), perform_io_checks=False)
    pipeline = create_prediction_pipeline(
        description, weight_format="torchscript", devices=[device]
    )
    (source,), (result,) = get_member_ids(description.inputs), get_member_ids(description.outputs)
    axes = tuple(axis.id for axis in description.inputs[0].axes)

    def predict(image: Any) -> Any:
        tensor = Tensor(image[None, None].astype("float32"), dims=axes)
        sample = Sample(members={source: tensor}, stat={}, id="image")
        return pipeline.predict_sample_without_blocking(sample).members[result].data.to_numpy()

    return predict


PREPARED = {
    "module": through_module,
    "fnet": through_module,
    "care": through_module,
    "whole": through_gvtzoo,
    "exact": through_gvtzoo,
    "files": through_files,
    "blocks": through_gvtzoo,
    "core": through_core,
}


def peak_memory(device: str) -> int:
    """Bytes, the most that this process has had, or has had on the GPU."""
    if device == "cpu":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    import torch

    return int(torch.cuda.max_memory_allocated())


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        worker(*sys.argv[2:])
    else:
        typer.run(main)
