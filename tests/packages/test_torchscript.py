"""TorchScript of strangers: ordinary networks pass, whatever reaches further is refused unrun."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from gvtzoo.core.errors import GvtzooError
from gvtzoo.packages.torchscript import HARMLESS, vetted_torchscript


def saved(module: torch.jit.ScriptModule) -> bytes:
    file = io.BytesIO()
    torch.jit.save(module, file)
    return file.getvalue()


class Ordinary(nn.Module):
    """What U-Nets are made of."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(1, 4, 3, padding=1, padding_mode="reflect")
        self.norms = nn.ModuleList([nn.GroupNorm(2, 4), nn.InstanceNorm2d(4), nn.BatchNorm2d(4)])
        self.up = nn.ConvTranspose2d(4, 4, 2, stride=2)
        self.resize = nn.Upsample(scale_factor=2.0, mode="bilinear", align_corners=False)
        self.dropout = nn.Dropout2d(0.1)
        self.last = nn.Conv2d(8, 1, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        features = self.down(image)
        for norm in self.norms:
            features = nn.functional.leaky_relu(norm(features))
        small = nn.functional.max_pool2d(features, 2)
        joined = torch.cat([self.up(small), self.dropout(self.resize(small))], 1)
        if joined.shape[-1] != image.shape[-1]:
            joined = nn.functional.pad(joined, [0, image.shape[-1] - joined.shape[-1]])
        return torch.sigmoid(self.last(joined)) + nn.functional.softmax(image, 1)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("how", ["trace", "script"])
def test_ordinary_networks_pass_and_compute_the_same(how):
    torch.manual_seed(0)
    network, image = Ordinary().eval(), torch.rand(1, 1, 16, 16)
    module = torch.jit.script(network) if how == "script" else torch.jit.trace(network, image)
    loaded = torch.jit.load(io.BytesIO(vetted_torchscript(saved(module))))
    torch.testing.assert_close(loaded(image), network(image))


def test_the_bundled_networks_pass():
    zips = sorted((Path(__file__).parents[2] / "zoo").glob("*/model.zip"))
    assert zips
    for path in zips:
        with zipfile.ZipFile(path) as archive:
            torch.jit.load(io.BytesIO(vetted_torchscript(archive.read("torchscript.pt"))))


def test_every_operator_of_the_list_is_one_of_pytorch():
    """A name that is none would never be compared with anything."""
    known = {schema.name.split("::")[1] for schema in torch._C._jit_get_all_schemas()}
    assert known >= HARMLESS


class Writes(nn.Module):
    def __init__(self, target: str) -> None:
        super().__init__()
        self.target = target

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        torch.save(image, self.target)
        return image


class WritesOnLoading(nn.Module):
    def __init__(self, target: str) -> None:
        super().__init__()
        self.target = target

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return self.target, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.target, self.training = state[0], state[1]
        torch.save(torch.ones(1), state[0])


class MapsFiles(nn.Module):
    def __init__(self, target: str) -> None:
        super().__init__()
        self.target = target

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.from_file(self.target, True, 4)


class Prints(nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        print("a result?")
        return image


@pytest.mark.parametrize("network", [Writes, WritesOnLoading, MapsFiles])
def test_code_that_writes_is_refused_before_it_is_loaded(tmp_path, network):
    target = tmp_path / "written"
    content = saved(torch.jit.script(network(str(target))))
    # What is refused does write, once it is loaded and run as other programs do it.
    torch.jit.load(io.BytesIO(content))(torch.zeros(1))
    assert target.exists()
    target.unlink()
    with pytest.raises(GvtzooError, match=r"'(save|from_file)'"):
        vetted_torchscript(content)
    assert not target.exists()


class BeyondItsBuffers(nn.Module):
    """PyTorch does not compare the statistics' sizes with the channels."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        short = torch.zeros(1)
        return torch.native_batch_norm(image, None, None, short, short, True, 1.0, 1e-5)[0]


class AsItWasLeft(nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.empty([64]) + image


@pytest.mark.parametrize("network", [BeyondItsBuffers, AsItWasLeft])
def test_memory_beyond_the_tensors_is_out_of_reach(network):
    with pytest.raises(GvtzooError, match=r"uses '(native_batch_norm|empty)'"):
        vetted_torchscript(saved(torch.jit.script(network())))


def test_printing_is_refused():
    """Standard output is for results."""
    with pytest.raises(GvtzooError, match="'print'"):
        vetted_torchscript(saved(torch.jit.script(Prints())))


class Harmless(nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.add(image, 1)


def with_line(*lines: str, head: str = "") -> bytes:
    """A harmless module with other statements in its method, as a hostile editor would do."""
    source = io.BytesIO(saved(torch.jit.script(Harmless())))
    result = io.BytesIO()
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(result, "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            if entry.filename.endswith(".py"):
                text = head + data.decode()
                place = text.index("    return torch.add")
                body = "".join(f"    {line}\n" for line in lines)
                data = (text[:place] + body + text[place:]).encode()
            if not entry.filename.endswith(".debug_pkl"):
                new.writestr(entry.filename, data)
    return result.getvalue()


def test_a_statement_more_is_read_as_pytorch_reads_it():
    module = torch.jit.load(io.BytesIO(vetted_torchscript(with_line("x = torch.mul(image, 2)"))))
    assert module(torch.ones(1)) == 2


@pytest.mark.parametrize(
    "lines",
    [
        ['torch.save(image, "W")'],
        ['image.save("W")'],
        ["add = torch.save", 'add(image, "W")'],
        ["add = torch", 'add.save(image, "W")'],
        ['add = getattr(torch, "save")', 'add(image, "W")'],
        ['add = getattr(torch, "sa" "ve")', 'add(image, "W")'],
        ['add = getattr(torch, "sa"\\\n "ve")', 'add(image, "W")'],
        ['add = getattr(torch, "\\163ave")', 'add(image, "W")'],
        ['add = getattr(torch, """save""")', 'add(image, "W")'],
        ['add = getattr(torch, r"save")', 'add(image, "W")'],
        ['ops.aten.save(image, "W")'],
        ['_0 = "#"', 'torch.save(image, "W")  # "'],
        ["_0 = '\\\\'", 'torch.save(image, "W")'],
        ["# a comment"],
        ["a = ops.prim", "_0 = a.rpc_sync"],
        ["_0 = ops.profiler._record_function_enter('x')"],
        ["_0 = ops . prim . rpc_sync()"],
        ["_0 = torch.classes.dist_c10d.FileStore"],
        ["_0 = __torch__.torch.classes.dist_c10d.FileStore('W', 1)"],
        ["_0 = torch.jit._fork(image)"],
        ["_0 = fork(image)"],
        ["torch.manual_seed(1)"],
        ["_0 = torch.as_strided(image, [9], [9], 9)"],
        ["_0 = image.set_(image)"],
        ["_0 = image.resize_([9])"],
        ["torch.ｓave(image)"],
        ["_0 = 1 ; torch . save ( image , 'W' )"],
        ["torch.sa\\\nve(image, 'W')"],
        ["_0 = `W`"],
        ["_0 = image $ 1"],
    ],
)
def test_what_reaches_further_is_refused(lines):
    with pytest.raises(GvtzooError, match=r"is (not run unasked|refused)"):
        vetted_torchscript(with_line(*lines))


def test_comments_and_unknown_characters_do_not_hide_anything():
    with pytest.raises(GvtzooError, match="which PyTorch does not write"):
        vetted_torchscript(with_line("_0 = 1", head="# coding: utf-7\n"))


@pytest.mark.parametrize("name", ["data.pkl", "constants.pkl"])
@pytest.mark.parametrize("found", ["os system", "__torch__.torch.classes.dist_c10d FileStore"])
def test_pickles_name_classes_of_the_code_only(name, found):
    source, result = io.BytesIO(saved(torch.jit.script(Harmless()))), io.BytesIO()
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(result, "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            if entry.filename.endswith(f"/{name}"):
                data = f"c{found.replace(' ', chr(10))}\n.".encode()
            new.writestr(entry.filename, data)
    with pytest.raises(GvtzooError, match=f"names {found}"):
        vetted_torchscript(result.getvalue())


def test_a_second_folder_or_file_is_not_a_way_around():
    content = saved(torch.jit.script(Harmless()))
    for name in ("other/code/__torch__.py", "archive/version"):
        file = io.BytesIO(content)
        with zipfile.ZipFile(file, "a") as archive:
            archive.writestr(name, "x")
        with pytest.raises(GvtzooError, match=r"one folder|in it twice"):
            vetted_torchscript(file.getvalue())


@pytest.mark.parametrize("content", [b"", b"PK", b"\x80\x02.", bytes(1000)])
def test_what_is_no_torchscript_is_said_so(content):
    with pytest.raises(GvtzooError, match="is not TorchScript"):
        vetted_torchscript(content)
