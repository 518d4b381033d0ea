"""Lists of pairs as spreadsheet programs and people write them: one reader for all uses."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gvtzoo.core.errors import GvtzooError
from gvtzoo.evaluation.pairs import find_pairs as evaluation_pairs
from gvtzoo.images.pair_lists import distinct_names, is_table, partners, read_table
from gvtzoo.recipes.recipe import DataConfig
from gvtzoo.training.data.pairs import training_pairs

NAMES = ("cell 1.tif", "Zelle_ä2.tif", "d4.tif")
PLAIN = "source,target\n" + "".join(f"raw data/{name},clean data/{name}\n" for name in NAMES)
WRITTEN = {
    "plain.csv": PLAIN.encode(),
    "bom.csv": PLAIN.encode("utf-8-sig"),
    "semicolons.csv": PLAIN.replace(",", ";").encode(),
    "tabs.csv": PLAIN.replace(",", "\t").encode(),
    "tabs.tsv": PLAIN.replace(",", "\t").encode(),
    "excel says.csv": ("sep=;\r\n" + PLAIN.replace(",", ";").replace("\n", "\r\n")).encode(),
    "utf16.csv": PLAIN.replace(",", "\t").encode("utf-16"),
    "utf16be.csv": b"\xfe\xff" + PLAIN.encode("utf-16-be"),
    "utf16 without mark.csv": PLAIN.encode("utf-16-le"),
    "latin1.csv": PLAIN.encode("latin-1"),
    "backslashes.csv": PLAIN.replace("/", "\\").encode(),
    "UPPER.CSV": PLAIN.encode(),
    "caps.csv": PLAIN.replace("source,target", "Source,TARGET").encode(),
    "spaces.csv": PLAIN.replace("source,target", " source, target ").replace("\n", " \n").encode(),
    "quotes.csv": PLAIN.replace("raw data/d4.tif", '"raw data/d4.tif"').encode(),
    "empty rows.csv": (PLAIN.replace("\n", "\r\n") + ",\r\n\r\n , \r\n").encode(),
    "decomposed.csv": unicodedata.normalize("NFD", PLAIN).encode(),
    "short rows.csv": PLAIN.replace("source,target\n", "source,target,split,channel\n").encode(),
    "no newline.csv": PLAIN.strip().encode(),
}


def save(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(0).integers(0, 255, (16, 24), np.uint8)
    tifffile.imwrite(path, image, metadata={"axes": "YX"})


@pytest.fixture
def data(tmp_path) -> Path:
    for folder in ("raw data", "clean data"):
        for name in NAMES:
            save(tmp_path / folder / name)
    return tmp_path


@pytest.mark.parametrize("name", WRITTEN)
def test_what_programs_write_is_read_alike(data, name):
    (data / name).write_bytes(WRITTEN[name])
    assert is_table(data / name)
    trained = [(pair.source.name, pair.target.parent.name)
               for pair in training_pairs(data / name, "train", DataConfig())]  # fmt: skip
    measured = [(pair.source.name, pair.target.parent.name)
                for pair in evaluation_pairs(data / name)]  # fmt: skip
    assert trained == measured == [(name, "clean data") for name in NAMES]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "lacks the column 'source'"),
        ("source\na.tif\n", "lacks the column 'target'"),
        ("source,target\nno.tif,a.tif\n", r"line 2: there is no file .*no\.tif"),
        ("source,target\na.tif\n", "line 2: a row without source or target"),
        ("source,target\n\na.tif,a.tif\na.tif,\n", "line 4: a row without source or target"),
        ("source,target\na.tif,a.tif,b.tif\n", "line 2: more values than the 2 columns"),
        ('source,target\n"a.tif,a.tif\n', "line 2: there is no file"),
    ],
)
@pytest.mark.parametrize("use", ["training", "evaluation"])
def test_wrong_tables_are_told_in_one_line(tmp_path, content, message, use):
    save(tmp_path / "a.tif")
    path = tmp_path / "pairs.csv"
    path.write_text(content)
    with pytest.raises(GvtzooError, match=message) as caught:
        if use == "training":
            training_pairs(path, "train", DataConfig())
        else:
            evaluation_pairs(path)
    assert "pairs.csv" in str(caught.value)


@given(content=st.binary(max_size=200))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_bytes_are_a_table_or_refused(tmp_path, content):
    path = tmp_path / "pairs.csv"
    path.write_bytes(content)
    try:
        table = read_table(path)
    except GvtzooError:
        return
    assert all(set(row.values) <= set(table.columns) for row in table.rows)


def test_images_of_one_name_in_several_folders(tmp_path):
    rows = ["source,target"]
    for day in ("day1", "day2"):
        save(tmp_path / day / "raw" / "a.tif")
        save(tmp_path / day / "clean" / "a.tif")
        rows.append(f"{day}/raw/a.tif,{day}/clean/a.tif")
    (tmp_path / "pairs.csv").write_text("\n".join(rows))
    trained = training_pairs(tmp_path / "pairs.csv", "train", DataConfig())
    measured = evaluation_pairs(tmp_path / "pairs.csv")
    assert [pair.name for pair in trained] == [pair.name for pair in measured]
    assert [pair.name for pair in trained] == ["day1/raw/a", "day2/raw/a"]
    assert len({pair.place for pair in measured}) == 2


def test_distinct_names():
    def names(*paths):
        return distinct_names([Path(path) for path in paths])

    assert names("a.tif", "b.tif") == ["a", "b"]
    assert names("x/a.tif", "y/A.tif", "y/b.tif") == ["x/a", "y/A", "b"]
    assert names("1/x/a.tif", "2/x/a.tif", "2/y/a.tif") == ["1/x/a", "2/x/a", "y/a"]
    assert names("a.tif", "a.tif") == ["a", "a"]  # the same file is the same image


def test_partners_of_other_formats(tmp_path):
    save(tmp_path / "source" / "a.tif")
    (tmp_path / "target").mkdir()
    np.save(tmp_path / "target" / "a.npy", np.ones((4, 4)))
    found = partners(tmp_path / "source", tmp_path / "target", both=True)
    assert [(source.name, target.name) for source, target in found] == [("a.tif", "a.npy")]
    np.save(tmp_path / "target" / "b.npy", np.ones((4, 4)))
    assert len(partners(tmp_path / "source", tmp_path / "target", both=False)) == 1
    with pytest.raises(GvtzooError, match=r"b\.npy has no partner in source/"):
        partners(tmp_path / "source", tmp_path / "target", both=True)
