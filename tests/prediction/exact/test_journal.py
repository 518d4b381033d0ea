"""What is written of a prediction is read again, with any NumPy."""

from __future__ import annotations

import inspect

import numpy as np

from gvtzoo.prediction.exact.journal import Journal


def test_a_pass_is_read_as_it_was_written(tmp_path):
    journal, arrays = Journal(tmp_path), [np.arange(3.0), np.ones((2, 2))]
    journal.finish(1, 7, arrays)
    done, read = journal.state(1)
    assert done == 7
    for array, expected in zip(read, arrays, strict=True):
        np.testing.assert_array_equal(array, expected)


def test_every_keyword_of_savez_is_an_array(tmp_path, monkeypatch):
    """Before NumPy 2.2 `allow_pickle` would be one, and what is done would be lost."""
    savez = np.savez
    known = {"allow_pickle"} & set(inspect.signature(savez).parameters)

    def older(file, *arrays, **named):
        return savez(file, *arrays, **{("_" + k if k in known else k): v for k, v in named.items()})

    monkeypatch.setattr(np, "savez", older)
    journal = Journal(tmp_path)
    journal.finish(0, 2, [np.arange(3.0)])
    done, (array,) = journal.state(0)
    assert (done, array.tolist()) == (2, [0, 1, 2])
