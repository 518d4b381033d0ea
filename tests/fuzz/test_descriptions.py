from __future__ import annotations

import pytest
import small_package
import yaml
from hostile import INTEGERS, changed, fuzz, mutations, outcome, refusal, values
from hypothesis import given
from hypothesis import strategies as st
from yaml_bombs import BOMBS

from gvtzoo.core.yaml import read_yaml
from gvtzoo.packages.reader import open_package


def read_everything(path):
    package = open_package(path)
    outcome(package.test_input)
    outcome(package.test_output)
    return package.build_network()


def check_description(folder, members, text):
    """Refused, or the small package's weights, as they are."""
    result = outcome(read_everything, small_package.write_folder(folder, {**members, **text}))
    assert {path.name for path in folder.iterdir()} == {*members, *text}
    if result is not None:
        for name, tensor in small_package.weights().items():
            assert result.state_dict()[name].equal(tensor)


def content_of(members):
    return yaml.safe_load(members["rdf.yaml"])


@fuzz(12)
@given(data=st.data())
def test_changed_descriptions(members, tmp_path, data):
    content = data.draw(changed(content_of(members)))
    check_description(tmp_path / "p", members, {"rdf.yaml": small_package.to_yaml(content)})


@fuzz(15)
@given(data=st.data())
def test_changed_configurations(members, tmp_path, data):
    content = content_of(members)
    content["config"]["gvtzoo"] = data.draw(changed(content["config"]["gvtzoo"]))
    check_description(tmp_path / "p", members, {"rdf.yaml": small_package.to_yaml(content)})


@fuzz(12)
@given(data=st.data())
def test_changed_networks(members, tmp_path, data):
    content = content_of(members)
    network = content["config"]["gvtzoo"]["network"]
    for _ in range(data.draw(st.integers(1, 3))):
        key = data.draw(st.sampled_from(sorted(network)))
        network[key] = data.draw(
            values()
            | st.integers(0, 9)
            | st.lists(st.sampled_from([0, 1, 3, 10**9, "gvto", "residual", "gvto_v1", "gvto_v2"]))
        )
    check_description(tmp_path / "p", members, {"rdf.yaml": small_package.to_yaml(content)})


@fuzz(10)
@given(mutate=mutations())
def test_damaged_texts(members, tmp_path, mutate):
    text = mutate(members["rdf.yaml"])
    check_description(tmp_path / "p", members, {"rdf.yaml": text})


YAML_WORDS = [
    *["[", "]", "{", "}", ":", "? ", "- ", "\n", " ", "  ", ",", "#", "|", ">", "%", "@", "`", "'"],
    *['"', "&a", "*a", "<<: ", "!!", "!!int ", "!!float ", "!!timestamp ", "!!binary ", "!!set "],
    *["!!omap ", "!!pairs ", "!!bool ", "!!null ", "!!merge ", "!!python/object:os.system ", "---"],
    *["...", "1:1", "0x", "0b", "1e9", ".nan", "-.inf", "2026-13-45", "\\e", "\0", "\ufeff", "~"],
    *["yes", "key", "%YAML 1.2\n", "!!python/object/apply:os.system [touch evil]"],
]


@fuzz(80)
@given(words=st.lists(st.sampled_from(YAML_WORDS) | st.text(max_size=5), max_size=30))
def test_yaml_of_any_kind(words):
    text = "".join(words)
    plain = outcome(read_yaml, text)
    if plain is not None:
        assert plain == plain or ".nan" in text  # a value that can be compared: nothing exotic
        assert type(plain).__module__ in ("builtins", "datetime")
    outcome(read_yaml, text.encode("utf-16", "surrogatepass"))
    outcome(read_yaml, text.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("kind", BOMBS)
def test_yaml_tricks_are_refused(members, tmp_path, kind):
    text = BOMBS[kind]
    text = text.encode() if isinstance(text, str) else text
    folder = small_package.write_folder(tmp_path / "p", {**members, "rdf.yaml": text})
    assert "rdf.yaml" in refusal(open_package, folder)
    assert "rdf.yaml" in refusal(
        open_package,
        small_package.write_folder(folder, {**members, "rdf.yaml": members["rdf.yaml"] + text}),
    )


ABSURD = [
    {"features": 10**9},
    {"features": 10**6, "depth": 8},
    {"features": 64, "depth": 8},
    {"features": 10**40},
    {"depth": 10**9},
    {"depth": 64},
    {"encoder_blocks": [10**9, 0]},
    {"encoder_blocks": [1, 0] * 10_000},
    {"decoder_blocks": [10**9]},
    {"bottom": ["gvto"] * 20_000},
    {"bottom": ["residual"] * 64, "features": 4096},
    {"input_channels": 10**9},
    {"input_channels": 8192, "output_channels": 8192},
    {"output_channels": 10**12},
    {"output_kernel_size": 10**9 + 1},
    {"output_kernel_size": 31, "features": 4096, "output_channels": 8192, "dimensions": 3},
    {"features": 4096, "dimensions": 3},
    {"attention": {"same": {"heads": 10**18}}},
    {"attention": {"same": {"key_ratio": 0}}},
]


@pytest.mark.parametrize("network", ABSURD, ids=lambda network: "-".join(network))
def test_networks_of_absurd_sizes_are_refused_before_they_are_made(members, tmp_path, network):
    content = content_of(members)
    settings = content["config"]["gvtzoo"]["network"]
    attention = network.get("attention", {})
    settings.update(network)
    settings["attention"] = attention
    depth = settings["depth"]
    if 1 < depth <= 8 and depth != 2:
        settings.update(
            encoder_blocks=[1] * depth,
            decoder_blocks=[1] * (depth - 1),
            downsampling=["convolution"] * (depth - 1),
            upsampling=["gvto_v2"] * (depth - 1),
        )
    text = {"rdf.yaml": small_package.to_yaml(content)}
    folder = small_package.write_folder(tmp_path / "p", {**members, **text})
    assert refusal(read_everything, folder)


@fuzz(5)
@given(digest=st.text(max_size=70) | st.sampled_from(["0" * 64, "F" * 64]))
def test_wrong_checksums_are_refused(members, tmp_path, digest):
    content = content_of(members)
    content["attachments"][0]["sha256"] = digest
    text = {"rdf.yaml": small_package.to_yaml(content)}
    folder = small_package.write_folder(tmp_path / "p", {**members, **text})
    assert outcome(open_package, folder) is None


@fuzz(10)
@given(
    source=st.text(max_size=30)
    | st.sampled_from(["https://example.org/w.safetensors", "../w.safetensors", "/dev/zero", "."])
    | st.sampled_from(INTEGERS)
)
def test_sources_of_any_kind(members, tmp_path, source):
    content = content_of(members)
    del content["attachments"]
    content["weights"]["pytorch_state_dict"]["source"] = source
    content["inputs"][0]["test_tensor"]["source"] = source
    check_description(tmp_path / "p", members, {"rdf.yaml": small_package.to_yaml(content)})
