import hashlib
import pickle
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import yaml
from onnx.external_data_helper import set_external_data

import gvtzoo
from gvtzoo import GvtzooError
from gvtzoo.packages.reader import named_files, open_package
from gvtzoo.packages.writer import sha256


def read_members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_members(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def change_rdf(members: dict[str, bytes], change) -> dict[str, bytes]:
    rdf = yaml.safe_load(members["rdf.yaml"])
    change(rdf)
    return members | {"rdf.yaml": yaml.safe_dump(rdf).encode()}


def refusal(path: Path) -> str:
    with pytest.raises(GvtzooError) as caught:
        open_package(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("place", ["zip", "folder", "rdf.yaml", "bioimageio.yaml"])
def test_opens_from_everywhere_and_reproduces_its_test_output(tiny, tmp_path, place):
    path = tiny
    if place != "zip":
        for name, content in read_members(tiny).items():
            (tmp_path / name).write_bytes(content)
        if place == "bioimageio.yaml":
            (tmp_path / "rdf.yaml").rename(tmp_path / place)
        path = tmp_path if place == "folder" else tmp_path / place
    package = open_package(path)
    network = package.build_network()
    assert not network.training
    image = package.test_input()
    normalized = package.config.normalization.source.fit(image).apply(image)
    with torch.no_grad():
        output = network(torch.from_numpy(normalized)).numpy()
    np.testing.assert_allclose(output, package.test_output(), atol=1e-5)


def test_opening_unpacks_nothing(tiny, tmp_path):
    path = tmp_path / "model.zip"
    path.write_bytes(tiny.read_bytes())
    open_package(path).build_network()
    assert list(tmp_path.iterdir()) == [path]


def test_weights_come_from_the_state_dict_where_there_is_no_attachment(tiny, tmp_path):
    members = change_rdf(read_members(tiny), lambda rdf: rdf.pop("attachments"))
    del members["weights.safetensors"]
    package = open_package(write_members(tmp_path / "model.zip", members))
    expected = open_package(tiny).build_network().state_dict()
    for name, value in package.build_network().state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0)


class Malice:
    def __reduce__(self):
        return print, ("code from a package ran",)


def test_pickled_code_does_not_run(tiny, tmp_path, capfd):
    evil = pickle.dumps({"weight": Malice()})

    def point_to_it(rdf):
        rdf.pop("attachments")
        rdf["weights"]["pytorch_state_dict"]["sha256"] = sha256(evil)

    members = change_rdf(read_members(tiny), point_to_it) | {"weights.pt": evil}
    package = open_package(write_members(tmp_path / "model.zip", members))
    with pytest.raises(GvtzooError, match="does not hold plain weights"):
        package.build_network()
    assert "code from a package ran" not in capfd.readouterr().out


@pytest.mark.parametrize("name", ["../evil.txt", "/etc/evil", "a/../../evil", "..\\evil", "C:evil"])
def test_members_outside_the_folder_are_refused(tiny, tmp_path, name):
    path = write_members(tmp_path / "model.zip", read_members(tiny) | {name: b"evil"})
    assert "outside its folder" in refusal(path)


def test_links_are_refused(tiny, tmp_path):
    path = write_members(tmp_path / "model.zip", read_members(tiny))
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    assert "is a link" in refusal(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_are_there_twice_are_refused(tiny, tmp_path):
    path = write_members(tmp_path / "model.zip", read_members(tiny))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("weights.pt", b"others")
    assert "twice" in refusal(path)


def test_absurd_sizes_are_refused(tiny, tmp_path):
    path = write_members(tmp_path / "model.zip", read_members(tiny))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(2**24), compresslevel=9)
        archive.getinfo("zeros").file_size = 2**32 - 2  # the directory, written when it is closed
        header = archive.getinfo("zeros").header_offset
    content = bytearray(path.read_bytes())
    assert content[header + 22 : header + 26] == (2**24).to_bytes(4, "little")
    content[header + 22 : header + 26] = (2**32 - 2).to_bytes(4, "little")
    path.write_bytes(content)
    assert "unpacks to" in refusal(path)


def test_yaml_aliases_are_read_and_bombs_refused(tiny, tmp_path):
    members = read_members(tiny)
    rdf = members["rdf.yaml"]
    members["rdf.yaml"] = rdf + b"\nfirst: &a [x, x]\nsecond: [*a, *a]\n"
    package = open_package(write_members(tmp_path / "model.zip", members))
    assert package.rdf["second"] == [["x", "x"], ["x", "x"]]
    lines = [b"v0: &v0 [x]"] + [
        f"v{n}: &v{n} [{', '.join([f'*v{n - 1}'] * 9)}]".encode() for n in range(1, 9)
    ]
    members["rdf.yaml"] = rdf + b"\n" + b"\n".join(lines) + b"\n"
    assert "aliases make it too large" in refusal(write_members(tmp_path / "bomb.zip", members))


def test_a_package_of_a_newer_version_opens_and_says_what_is_left_out(tiny, tmp_path, caplog):
    def tomorrow(rdf):
        config = rdf["config"]["gvtzoo"]
        config |= {"format": "1.3", "colour": "red"}
        config["metadata"]["doi"] = "10.1/x"

    members = change_rdf(read_members(tiny), tomorrow)
    package = open_package(write_members(tmp_path / "model.zip", members))
    assert package.build_network() is not None
    assert "newer gvtzoo" in caplog.text
    assert "colour" in caplog.text and "metadata.doi" in caplog.text


def test_a_checksum_that_is_right_once_does_not_hide_one_that_is_wrong(tiny, tmp_path):
    def name_twice(rdf):
        rdf["attachments"].append({"source": "weights.safetensors", "sha256": "0" * 64})

    members = change_rdf(read_members(tiny), name_twice)
    assert "damaged" in refusal(write_members(tmp_path / "model.zip", members))
    members = change_rdf(
        read_members(tiny), lambda rdf: rdf["attachments"].reverse() or name_twice(rdf)
    )
    assert "damaged" in refusal(write_members(tmp_path / "other.zip", members))


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pt", "test_output.npy"])
def test_damaged_files_are_noticed(tiny, tmp_path, name):
    members = read_members(tiny)
    content = bytearray(members[name])
    content[-1] ^= 1
    path = write_members(tmp_path / "model.zip", members | {name: bytes(content)})
    if name == "weights.safetensors":  # the ones that gvtzoo uses, noticed on opening
        assert "damaged" in refusal(path)
    else:
        with pytest.raises(GvtzooError, match=f"{name} is damaged"):
            open_package(path).read(name)


def test_damaged_archives_are_noticed(tiny, tmp_path):
    content = bytearray(tiny.read_bytes())
    with zipfile.ZipFile(tiny) as archive:
        member = archive.getinfo("weights.safetensors")
    content[member.header_offset + 200] ^= 255
    path = tmp_path / "model.zip"
    path.write_bytes(content)
    assert "damaged" in refusal(path)


def test_truncated_archives_are_refused(tiny, tmp_path):
    path = tmp_path / "model.zip"
    path.write_bytes(tiny.read_bytes()[:1000])
    assert "truncated" in refusal(path)


def test_weights_of_another_network_are_refused(tiny, tmp_path):
    def more_features(rdf):
        rdf["config"]["gvtzoo"]["network"]["features"] = 8

    members = change_rdf(read_members(tiny), more_features)
    package = open_package(write_members(tmp_path / "model.zip", members))
    with pytest.raises(GvtzooError, match="do not fit") as caught:
        package.build_network()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rdf: rdf.pop("config"), "not made by gvtzoo"),
        (lambda rdf: rdf["config"].pop("gvtzoo"), "not made by gvtzoo"),
        (lambda rdf: rdf["config"]["gvtzoo"].update(format="2"), "config.gvtzoo.format"),
        (lambda rdf: rdf["config"]["gvtzoo"].pop("network"), "config.gvtzoo.network"),
        (lambda rdf: (rdf.pop("attachments"), rdf.pop("weights")), "no weights"),
        (
            lambda rdf: rdf["attachments"][0].update(source="https://example.org/w.safetensors"),
            "damaged|weights",
        ),
    ],
)
def test_descriptions_that_gvtzoo_cannot_use(tiny, tmp_path, change, words):
    path = write_members(tmp_path / "model.zip", change_rdf(read_members(tiny), change))
    if words == "damaged|weights":  # an address is never fetched: the state dict is taken
        assert open_package(path).build_network() is not None
    else:
        assert words in refusal(path)


@pytest.mark.parametrize("text", ["[1, 2", "- a list", "\x00", "just text"])
def test_descriptions_that_are_none(tmp_path, text):
    (tmp_path / "rdf.yaml").write_text(text)
    assert "rdf.yaml" in refusal(tmp_path)


def test_missing_things(tmp_path):
    assert "does not exist" in refusal(tmp_path / "nothing.zip")
    assert "no rdf.yaml" in refusal(tmp_path)
    (tmp_path / "image.tif").write_bytes(b"II*\0")
    assert "not a zip" in refusal(tmp_path / "image.tif")


def test_reading_stays_in_the_package(tiny):
    package = open_package(tiny)
    for name in ("../secret", "/etc/passwd", "", "nothing.txt"):
        with pytest.raises(GvtzooError):
            package.read(name)


def test_the_files_that_a_description_names():
    rdf = {
        "documentation": "README.md",
        "icon": "🦊",
        "covers": ["cover.png", "https://example.org/cover.png"],
        "attachments": {"files": ["more.txt"]},
        "inputs": [{"test_tensor": {"source": "a.npy"}, "sample_tensor": None}],
        "weights": {
            "onnx": {"source": "weights.onnx", "external_data": {"source": "weights.data"}},
            "pytorch_state_dict": {
                "source": "weights.pt",
                "architecture": "network.py:Network",
                "dependencies": "conda:environment.yaml",
                "kwargs": {"source": "no file"},
            },
        },
        "config": {"files": ["no file"]},
    }
    assert list(named_files(rdf)) == [
        *("README.md", "cover.png", "more.txt", "a.npy", "weights.onnx", "weights.data"),
        *("weights.pt", "network.py", "environment.yaml"),
    ]


def test_a_graph_that_names_a_file_is_not_run(tiny, tmp_path, monkeypatch):
    """Predictions are then the network's, from its weights."""
    members = read_members(tiny)
    graph = onnx.load_model_from_string(members["weights.onnx"])
    stored = graph.graph.initializer[0]
    (tmp_path / "secret.txt").write_bytes(stored.raw_data[::-1])
    set_external_data(stored, location="secret.txt")
    stored.ClearField("raw_data")
    members["weights.onnx"] = graph.SerializeToString()
    members = change_rdf(
        members,
        lambda rdf: rdf["weights"]["onnx"].update(
            sha256=hashlib.sha256(members["weights.onnx"]).hexdigest()
        ),
    )
    path = write_members(tmp_path / "model.zip", members)
    monkeypatch.chdir(tmp_path)
    assert open_package(path).read_graph() is None
    image = np.random.default_rng(0).random((8, 16, 16), np.float32)
    axes = "".join(gvtzoo.load(tiny).axes)
    image = image[(0,) * (3 - len(axes))]
    found, expected = (gvtzoo.load(p).predict(image, axes, device="cpu") for p in (path, tiny))
    np.testing.assert_allclose(found, expected, atol=1e-4 * float(np.ptp(expected.to_numpy())))
