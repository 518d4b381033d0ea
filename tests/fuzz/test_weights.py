from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile

import numpy as np
import pytest
import small_package
import torch
from hostile import INTEGERS, changed, fuzz, mutations, outcome, refusal
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from gvtzoo.core.errors import GvtzooError
from gvtzoo.packages.reader import open_package


def build(folder):
    return open_package(folder).build_network()


def with_safetensors(folder, members, content):
    """A package of these weights, with their checksum."""
    files = {name: data for name, data in members.items() if name != "rdf.yaml"}
    files["weights.safetensors"] = content
    return small_package.write_folder(folder, small_package.described(files))


def with_pickle(folder, members, content):
    files = {name: data for name, data in members.items() if name != "rdf.yaml"}
    files["weights.pt"] = content
    return small_package.write_folder(folder, small_package.without_safetensors(files))


def check(folder, shapes=None):
    network = outcome(build, folder)
    if network is not None:
        expected = small_package.weights()
        state = network.state_dict()
        assert {n: t.shape for n, t in state.items()} == {n: t.shape for n, t in expected.items()}
    return network


@fuzz(12)
@given(mutate=mutations())
def test_damaged_safetensors(members, tmp_path, mutate):
    content = mutate(members["weights.safetensors"])
    check(with_safetensors(tmp_path / "p", members, content))


@fuzz(15)
@given(data=st.data())
def test_headers_of_safetensors_that_lie(members, tmp_path, data):
    content = members["weights.safetensors"]
    (size,) = struct.unpack("<Q", content[:8])
    header = data.draw(changed(json.loads(content[8 : 8 + size])))
    text = json.dumps(header, default=str).encode("utf-8", "surrogatepass")
    claimed = data.draw(st.just(len(text)) | st.sampled_from(INTEGERS))
    content = struct.pack("<Q", claimed) + text + content[8 + size :]
    check(with_safetensors(tmp_path / "p", members, content))


@fuzz(12)
@given(data=st.data())
def test_tensors_of_other_shapes_types_and_names(members, tmp_path, data):
    state = small_package.weights()
    name = data.draw(st.sampled_from(sorted(state)))
    dtypes = [torch.float64, torch.float16, torch.bfloat16, torch.int8, torch.bool, torch.int64]
    shape = data.draw(st.lists(st.integers(0, 9), max_size=6) | st.just(list(state[name].shape)))
    dtype = data.draw(st.sampled_from([*dtypes, state[name].dtype, torch.complex64]))
    state[data.draw(st.just(name) | st.text(max_size=9))] = torch.ones(shape).to(dtype)
    if data.draw(st.booleans()):
        del state[name]
    pickled = io.BytesIO()
    torch.save(state, pickled)
    check(with_pickle(tmp_path / "p", members, pickled.getvalue()))
    if dtype != torch.complex64:
        check(with_safetensors(tmp_path / "p", members, save(state)))


@fuzz(12)
@given(mutate=mutations())
def test_damaged_state_dicts(members, tmp_path, mutate):
    check(with_pickle(tmp_path / "p", members, mutate(members["weights.pt"])))


@fuzz(15)
@given(mutate=mutations())
def test_damaged_pickles_in_state_dicts(members, tmp_path, mutate):
    check(with_pickle(tmp_path / "p", members, with_program(members, mutate)))


def with_program(members, change):
    """The state dict, with the pickle in it changed."""
    result = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(members["weights.pt"])) as source,
        zipfile.ZipFile(result, "w") as target,
    ):
        for name in source.namelist():
            data = source.read(name)
            target.writestr(name, change(data) if name.endswith("data.pkl") else data)
    return result.getvalue()


class Malice:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def programs():
    import os
    import subprocess

    yield "system", pickle.dumps(Malice(os.system, "touch evil"))
    yield "popen", pickle.dumps(Malice(subprocess.Popen, ["touch", "evil"]))
    yield "eval", pickle.dumps({"a": Malice(eval, "open('evil', 'w')")}, protocol=2)
    yield "exec", pickle.dumps([Malice(exec, "open('evil', 'w')")], protocol=2)
    yield "getattr", pickle.dumps(Malice(getattr, torch.Tensor, "__reduce_ex__"), protocol=2)
    yield "load", pickle.dumps(Malice(torch.load, "weights.pt"), protocol=2)
    yield "not a dict", pickle.dumps([1, 2, 3], protocol=2)
    yield "not tensors", pickle.dumps({"first_convolution.convolution.weight": 1}, protocol=2)
    yield "keys of no kind", pickle.dumps({1: 2, None: 3}, protocol=2)
    yield "many bytes", b"\x80\x02cbuiltins\nbytearray\nJ\x00\x00\x00\x7f\x85R."
    yield "endless marks", b"\x80\x02" + b"(" * 100_000 + b"."
    yield "long number", b"\x80\x02\x8b\xff\xff\xff\x7f"


PROGRAMS = dict(programs())


@pytest.mark.parametrize("kind", PROGRAMS)
@pytest.mark.parametrize("form", ["zip", "bare"])
def test_pickles_do_not_run(members, tmp_path, monkeypatch, kind, form):
    monkeypatch.chdir(tmp_path)
    program = PROGRAMS[kind]
    content = program if form == "bare" else with_program(members, lambda _: program)
    folder = with_pickle(tmp_path / "p", members, content)
    assert outcome(build, folder) is None
    assert not (tmp_path / "evil").exists()


def special_tensors():
    sparse = torch.eye(4).to_sparse()
    yield "sparse", {"a": sparse}
    yield "meta", {"a": torch.ones(3, device="meta")}
    yield "expanded", {"a": torch.ones(1).expand(10**9)}
    yield "nested", {"a": {"b": torch.ones(1)}}
    yield "complex", {"a": torch.ones(1, dtype=torch.complex64)}


@pytest.mark.parametrize(("kind", "tensors"), special_tensors(), ids=lambda value: str(value)[:9])
def test_tensors_that_are_no_plain_ones(members, tmp_path, kind, tensors):
    state = small_package.weights()
    name = next(iter(state))
    pickled = io.BytesIO()
    torch.save({**state, name: tensors["a"]}, pickled)
    words = refusal(build, with_pickle(tmp_path / "p", members, pickled.getvalue()))
    assert name in words or "plain weights" in words


def test_compressed_state_dicts_do_not_unpack(members, tmp_path):
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}, protocol=2))
        archive.writestr("archive/data/0", bytes(2**29))
    content = bomb.getvalue()
    folder = with_pickle(tmp_path / "p", members, content)
    assert "compressed" in refusal(build, folder)


def test_weights_larger_than_the_network_are_not_read(members, tmp_path):
    content = save({**small_package.weights(), "more": torch.zeros(2**28, dtype=torch.uint8)})
    folder = with_safetensors(tmp_path / "p", members, content)
    del content
    assert "bytes" in refusal(build, folder)


def test_safetensors_headers_of_any_size(members, tmp_path):
    for claimed in (2**63 - 1, 2**32, 10**8):
        content = struct.pack("<Q", claimed) + b"{}"
        folder = with_safetensors(tmp_path / "p", members, content)
        assert "safetensors" in refusal(build, folder)


@fuzz(15)
@given(mutate=mutations(), place=st.sampled_from(["test_input", "test_output"]))
def test_damaged_test_tensors(members, tmp_path, mutate, place):
    files = {name: data for name, data in members.items() if name != "rdf.yaml"}
    files[f"{place}.npy"] = mutate(files[f"{place}.npy"])
    folder = small_package.write_folder(tmp_path / "p", small_package.described(files))
    array = outcome(getattr(open_package(folder), place))
    assert array is None or isinstance(array, np.ndarray)


def test_test_tensors_of_other_files(members, tmp_path):
    archive = io.BytesIO()
    np.savez(archive, a=np.ones(3))
    for content in (archive.getvalue(), pickle.dumps(Malice(print, "code ran")), b""):
        files = {name: data for name, data in members.items() if name != "rdf.yaml"}
        files["test_input.npy"] = content
        folder = small_package.write_folder(tmp_path / "p", small_package.described(files))
        with pytest.raises(GvtzooError, match="npy"):
            open_package(folder).test_input()
