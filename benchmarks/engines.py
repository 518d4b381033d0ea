"""What makes the network itself faster on this machine, at equal results.

    python benchmarks/engines.py [--network denoising] [--size 16,256,256] [--device cpu]

Each variant runs in a process of its own, in turn, several times; the best time counts. Times are
ratios to the plain module, differences shares of the output's range.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

VARIANTS = (
    "plain",
    "channels last",
    "gvtzoo",
    "bfloat16",
    "bfloat16 gvtzoo",
    "compile",
    "compile gvtzoo",
    "onnx",
)


def main(
    network: Annotated[list[str] | None, typer.Option(help="Presets to measure.")] = None,
    size: Annotated[str, typer.Option(help="z,y,x in voxels.")] = "16,256,256",
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    repeats: Annotated[int, typer.Option(help="Times each is measured.")] = 3,
    variants: Annotated[str, typer.Option(help="Which.")] = ",".join(VARIANTS),
) -> None:
    """Print a table in Markdown."""
    import numpy as np

    print("| network | size | variant | time | time / plain | difference |")
    print("|---|---|---|---|---|---|")
    for preset in network or ["denoising", "label_free"]:
        with tempfile.TemporaryDirectory() as folder:
            plain = None
            for variant in variants.split(","):
                output = Path(folder) / f"{variant}.npy"
                command = [sys.executable, __file__, "worker", preset, size, variant, device]
                done = subprocess.run(
                    [*command, str(repeats), str(output)], capture_output=True, text=True
                )
                if done.returncode:
                    reason = done.stderr.strip().splitlines()[-1][:80]
                    print(f"| {preset} | {size} | {variant} | failed: {reason} | | |", flush=True)
                    continue
                seconds = json.loads(done.stdout.splitlines()[-1])
                result = np.load(output)
                plain = plain or (seconds, result)
                difference = np.abs(result - plain[1]).max() / np.ptp(plain[1])
                print(
                    f"| {preset} | {size.replace(',', '×')} | {variant} | {seconds:.2f} s | "
                    f"{seconds / plain[0]:.2f} | {difference:.1e} |",
                    flush=True,
                )


def worker(preset: str, size: str, variant: str, device: str, repeats: str, output: str) -> None:
    """Measure one variant; prints seconds."""
    import numpy as np
    import torch

    import gvtzoo
    from gvtzoo.networks import PRESETS

    torch.manual_seed(0)
    network = PRESETS[preset].build() if preset in PRESETS else gvtzoo.load(preset).network
    network = network.eval().to(device)
    shape = (1, 1, *map(int, size.split(",")))
    x = torch.from_numpy(np.random.default_rng(0).normal(size=shape).astype(np.float32))
    x = x.to(device)
    with torch.inference_mode():
        predict = prepared(variant, network, x)
        result = predict()
        times = []
        for _ in range(int(repeats)):
            start = time.perf_counter()
            result = predict()
            if device != "cpu":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
    values = result if isinstance(result, np.ndarray) else result.float().cpu().numpy()
    np.save(output, values)
    print(json.dumps(min(times)))


def prepared(variant: str, network: Any, x: Any) -> Callable[[], Any]:
    """A call that predicts, with all that is done once done."""
    import torch

    from gvtzoo.prediction.cpu_kernels import accelerate

    if "channels last" in variant:
        network = network.to(memory_format=torch.channels_last_3d)
        x = x.to(memory_format=torch.channels_last_3d)
    if "bfloat16" in variant:
        network, x = network.to(torch.bfloat16), x.to(torch.bfloat16)
    if "gvtzoo" in variant:
        network = accelerate(network)
    if "compile" in variant:
        network = torch.compile(network)
    if variant == "onnx":
        return through_onnx(network, x)
    return lambda: network(x)


def through_onnx(network: Any, x: Any) -> Callable[[], Any]:
    """The network as ONNX Runtime computes it."""
    import onnxruntime
    import torch

    path = Path(tempfile.mkdtemp()) / "network.onnx"
    torch.onnx.export(network, (x,), path, dynamo=False, opset_version=17, input_names=["x"])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options)
    return lambda: session.run(None, {"x": x.cpu().numpy()})[0]


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        worker(*sys.argv[2:])
    else:
        typer.run(main)
