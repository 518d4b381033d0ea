"""ONNX that names other files: whoever runs it reads what lies in the current folder.

Weights may lie in files beside the graph, and a graph may name any file. ONNX Runtime and OpenVINO
read them wherever a tensor stands: in the graph, in a branch, in a function, in a sparse tensor.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gvtzoo.core.errors import GvtzooError

# The key of a file's name, in protobuf as anywhere else these letters in a row.
KEY = b"location"


def may_name_files(content: bytes) -> bool:
    """Whether ONNX could name a file; read as bytes, in no time.

    A graph that has the word elsewhere, in a comment or as a key of its metadata, counts too.
    """
    return KEY in content


def check_names_no_files(content: bytes) -> None:
    """Refuse ONNX that names other files with weights.

    Raises
    ------
    GvtzooError
        Also when it is no ONNX. The message goes on after the file's name.
    """
    import onnx

    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf raises whatever the damage leads to
        raise GvtzooError(f"is not ONNX, or it is damaged: {error}") from error
    if any(_names_file(part) for part in _messages(model)):
        raise GvtzooError("is not run unasked: it names other files with weights")


def _names_file(message: Any) -> bool:
    """Whether it is a tensor whose numbers lie elsewhere, whatever the words for where."""
    from onnx import TensorProto

    if message.DESCRIPTOR.name != TensorProto.DESCRIPTOR.name:
        return False
    return bool(message.external_data) or message.data_location == TensorProto.EXTERNAL


def _messages(message: Any) -> Iterator[Any]:
    """A message of protobuf and all that are in it, wherever they stand."""
    yield message
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for part in [value] if hasattr(value, "DESCRIPTOR") else value:
                yield from _messages(part)
