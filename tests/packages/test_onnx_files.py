"""ONNX that names other files is found wherever the name stands."""

from __future__ import annotations

import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from gvtzoo.core.errors import GvtzooError
from gvtzoo.packages.onnx_files import check_names_no_files, may_name_files


def tensor(name: str, location: str | None) -> TensorProto:
    made = helper.make_tensor(name, TensorProto.FLOAT, [1], [1.0])
    if location is not None:
        made.ClearField("float_data")
        made.data_location = TensorProto.EXTERNAL
        made.external_data.add(key="location", value=location)
    return made


def model(place: str, location: str | None = "secret.txt", comment: str = "") -> bytes:
    """A graph with a tensor among its weights, in a function's branch, or in a sparse tensor."""
    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1])
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, [1])
    found = tensor("w", location)
    initializers, functions, sparse = [], [], []
    nodes = [helper.make_node("Identity", ["input"], ["output"])]
    if place == "graph":
        initializers = [found]
    if place == "attribute":
        nodes.append(helper.make_node("Constant", [], ["c"], value=found))
    if place == "function":
        branch = helper.make_graph(
            [helper.make_node("Identity", ["w"], ["b"])],
            "branch",
            [],
            [helper.make_tensor_value_info("b", TensorProto.FLOAT, [1])],
            [found],
        )
        inner = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
        opset = [helper.make_opsetid("", 17)]
        functions = [helper.make_function("evil", "F", ["c"], ["y"], [inner], opset)]
    if place == "sparse":
        indices = helper.make_tensor("i", TensorProto.INT64, [1], [0])
        sparse = [helper.make_sparse_tensor(found, indices, [1])]
    graph = helper.make_graph(
        nodes, "g", [image], [output], initializers, sparse_initializer=sparse, doc_string=comment
    )
    made: ModelProto = helper.make_model(graph, functions=functions)
    return made.SerializeToString()


@pytest.mark.parametrize("place", ["graph", "attribute", "function", "sparse"])
def test_a_file_is_found_wherever_it_is_named(place):
    named = model(place)
    assert may_name_files(named)
    with pytest.raises(GvtzooError, match="names other files"):
        check_names_no_files(named)
    check_names_no_files(model(place, None))


def test_a_comment_names_no_file():
    commented = model("graph", None, comment="the location of cells")
    assert may_name_files(commented)
    check_names_no_files(commented)


def test_metadata_name_no_file():
    """Keys of anybody's metadata may have any name."""
    made = onnx.load_model_from_string(model("graph", None))
    places = [made, made.graph, made.graph.node[0], made.graph.initializer[0], made.graph.input[0]]
    for place in places:
        place.metadata_props.add(key="location", value="Heidelberg")
    check_names_no_files(made.SerializeToString())


def test_numbers_that_lie_elsewhere_are_refused_whatever_says_where():
    made = onnx.load_model_from_string(model("graph", None))
    made.graph.initializer[0].data_location = TensorProto.EXTERNAL
    with pytest.raises(GvtzooError, match="names other files"):
        check_names_no_files(made.SerializeToString())
    made.graph.initializer[0].data_location = TensorProto.DEFAULT
    made.graph.initializer[0].external_data.add(key="offset", value="0")
    with pytest.raises(GvtzooError, match="names other files"):
        check_names_no_files(made.SerializeToString())


def test_what_is_no_onnx_is_refused():
    with pytest.raises(GvtzooError, match="not ONNX"):
        check_names_no_files(b"\xff" * 20)
