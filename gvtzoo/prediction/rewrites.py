"""Graphs in a form that takes OpenVINO less time and memory, with the same result.

- Activations behind a concatenation go in front of it, into the layers that compute its parts. So
  there is no second map of the concatenation's width.
- A transposed convolution whose last voxels are cut away does not compute them. So its map is not
  copied.
- Queries of an operator are multiplied with its matrix and then convolved, voxel by voxel: with the
  product of both, they are convolved once. So their map is not copied into another layout and back.
  Where they are added to the result, the identity is in the weights. So there is no map of the sum.
"""

from __future__ import annotations

from typing import Any

CHANNELS = 1  # the axis
BOUNDS = {"Maximum": "maximum", "Minimum": "minimum"}  # with a number: activations of ONNX graphs


def rewrite(model: Any) -> None:
    """Change an ``openvino.Model`` in place."""
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Concat" and node.get_attributes()["axis"] == CHANNELS:
            _activate_parts(node)
        elif node.get_type_name() == "ConvolutionBackpropData":
            _leave_out_last(node)
        elif node.get_type_name() == "MatMul":
            _convolve_queries(node)
    model.validate_nodes_and_infer_types()


def _activate_parts(concatenation: Any) -> None:
    from openvino import opset13

    found = _only_consumer(concatenation.output(0))
    while found is not None:
        activation, port = found
        kind = activation.get_type_name()
        parts = [concatenation.input_value(n) for n in range(concatenation.get_input_size())]
        if kind == "Relu":
            parts = [opset13.relu(part) for part in parts]
        elif kind in BOUNDS and _is_number(activation.input_value(1 - port)):
            bound = getattr(opset13, BOUNDS[kind])
            parts = [bound(part, activation.input_value(1 - port)) for part in parts]
        else:
            return
        concatenation = opset13.concat(parts, CHANNELS)
        _replace(activation.output(0), concatenation.output(0))
        found = _only_consumer(concatenation.output(0))


def _leave_out_last(convolution: Any) -> None:
    from openvino import opset13

    attributes = convolution.get_attributes()
    last = convolution.output(0)
    found = _only_consumer(last)
    bias = None
    if found is not None and found[0].get_type_name() == "Add":
        bias = found[0].input_value(1 - found[1])
        if not _is_for_each_channel(bias):
            return
        last = found[0].output(0)
        found = _only_consumer(last)
    cut: set[int] = set()
    while found is not None and (axes := _cuts_last_voxel(found[0])):
        cut |= axes
        last = found[0].output(0)
        found = _only_consumer(last)
    if not cut or any(attributes["pads_end"]):
        return
    shorter: Any = opset13.convolution_backprop_data(
        convolution.input_value(0),
        convolution.input_value(1),
        attributes["strides"],
        pads_begin=attributes["pads_begin"],
        pads_end=[int(axis + 2 in cut) for axis in range(len(attributes["strides"]))],
        dilations=attributes["dilations"],
    )
    if bias is not None:
        shorter = opset13.add(shorter, bias)
    _replace(last, shorter.output(0))


def _convolve_queries(product: Any) -> None:
    import numpy as np
    from openvino import opset13

    queries, scale = product.input_value(1), None
    if queries.get_node().get_type_name() == "Multiply":
        scale = queries.get_node().input_value(1)
        queries = queries.get_node().input_value(0)
    found = _only_consumer(product.output(0))
    if queries.get_node().get_type_name() != "Reshape" or found is None:
        return
    found = _only_consumer(found[0].output(0)) if found[0].get_type_name() == "Reshape" else None
    if found is None or found[0].get_type_name() != "Convolution" or found[1] != 0:
        return
    convolution, weight = found[0], found[0].input_value(1)
    queries, matrix = queries.get_node().input_value(0), product.input_value(0)
    if (scale is not None and not _is_number(scale)) or not _is_static(queries, matrix, weight):
        return
    out, values, *kernel = weight.get_shape()
    batch, heads, of_head, keys = matrix.get_shape() if len(matrix.get_shape()) == 4 else [0] * 4
    axes = len(kernel)
    same = (
        batch == 1
        and heads * of_head == values
        and list(queries.get_shape())[:2] == [1, heads * keys]
        and len(queries.get_shape()) == axes + 2
        and all(size == 1 for size in kernel)
        and not any(product.get_attributes().values())
        and all(step == 1 for step in convolution.get_attributes()["strides"])
    )
    if not same:
        return

    def shaped(x: Any, *sizes: int) -> Any:
        return opset13.reshape(x, np.array(sizes, np.int64), False)

    def swapped(x: Any) -> Any:
        return opset13.transpose(x, np.array([1, 0, 2], np.int64))

    after = swapped(shaped(weight, out, heads, of_head))  # (heads, out, values)
    mixing = opset13.matmul(after, shaped(matrix, heads, of_head, keys), False, False)
    if scale is not None:
        mixing = opset13.multiply(mixing, shaped(scale, 1))
    weight = shaped(swapped(mixing), out, heads * keys)
    mixed = convolution.output(0)
    added = _only_consumer(mixed)
    if added is not None and _is_sum(added) and _is_for_each_channel(_other(added)):
        added = _only_consumer(added[0].output(0))
    if added is not None and _is_sum(added) and _other(added) == queries:
        weight = opset13.add(weight, np.eye(out, dtype=np.float32))
        _replace(added[0].output(0), added[0].input_value(added[1]))
    nothing = [0] * axes
    weight = shaped(weight, out, heads * keys, *kernel)
    once = opset13.convolution(queries, weight, [1] * axes, nothing, nothing, [1] * axes)
    _replace(mixed, once.output(0))


def _is_sum(reader: tuple[Any, int]) -> bool:
    return bool(reader[0].get_type_name() == "Add")


def _other(reader: tuple[Any, int]) -> Any:
    """Of a sum of two, the one that is not read as this input."""
    return reader[0].input_value(1 - reader[1])


def _is_static(*outputs: Any) -> bool:
    return all(output.get_partial_shape().is_static for output in outputs)


def _cuts_last_voxel(node: Any) -> set[int]:
    """The axes along which a node does nothing else."""
    if node.get_type_name() != "Slice" or node.get_input_size() != 5:
        return set()
    values = [node.input_value(n).get_node() for n in range(1, 5)]
    if any(value.get_type_name() != "Constant" for value in values):
        return set()
    start, stop, step, axes = (value.data for value in values)
    if (start != 0).any() or (stop != -1).any() or (step != 1).any():
        return set()
    return {int(axis) for axis in axes}


def _only_consumer(output: Any) -> tuple[Any, int] | None:
    """The node that alone reads an output's values, and as which of its inputs."""
    consumers = [
        consumer
        for consumer in output.get_target_inputs()
        if consumer.get_node().get_type_name() != "ShapeOf"
    ]
    if len(consumers) != 1:
        return None
    return consumers[0].get_node(), consumers[0].get_index()


def _is_number(output: Any) -> bool:
    shape = output.get_partial_shape()
    return bool(shape.is_static) and all(size == 1 for size in output.get_shape())


def _is_for_each_channel(output: Any) -> bool:
    """Whether values are the same at all voxels: (1, channel, 1, …)."""
    shape = output.get_partial_shape()
    if not shape.is_static:
        return False
    sizes = list(output.get_shape())
    return all(size == 1 for axis, size in enumerate(sizes) if axis != CHANNELS)


def _replace(old: Any, new: Any) -> None:
    for consumer in list(old.get_target_inputs()):
        consumer.replace_source_output(new)
