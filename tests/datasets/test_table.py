"""CSV and Parquet tables."""

import sys
from pathlib import Path

import pytest
import torch

from erasable.datasets import table
from erasable.errors import InvalidData, MissingExtra, MissingFile

pa = pytest.importorskip("pyarrow", reason="tables need pyarrow, the extra erasable[data]")
parquet = pytest.importorskip("pyarrow.parquet", reason="tables need pyarrow, the extra erasable[data]")

CSV = "patient,age,dose,smokes,ward,outcome\n007,40,0.5,true,3,well\n008,50,1.5,false,03,ill\n010,60,1.5,true,3,well\n"
ROLES = {"id": "patient", "label": "outcome", "owner": "ward"}


def csv(tmp_path: Path, content: str = CSV) -> Path:
    file = tmp_path / "study.csv"
    file.write_text(content)
    return file


def test_csv(tmp_path: Path) -> None:
    data = table(csv(tmp_path), **ROLES)
    assert data.ids == ("007", "008", "010")  # letter for letter
    assert data.owned_by("3").ids == ("007", "010")
    assert data.owned_by("03").ids == ("008",)
    assert data.read("features").dtype == torch.float32
    assert data.read("features").tolist() == [[40, 0.5, 1], [50, 1.5, 0], [60, 1.5, 1]]
    assert data.read("label").tolist() == [1, 0, 1]
    facts = data.facts
    assert (facts["classes"], facts["owners"]) == (["ill", "well"], "given")
    assert facts["features"] == ["age", "dose", "smokes"]
    assert (facts["low"], facts["high"], facts["scaling"]) == ([40, 0.5, 0], [60, 1.5, 1], "fitted")


def test_chosen_features_and_a_given_range(tmp_path: Path) -> None:
    data = table(csv(tmp_path), id="patient", label="outcome", features=["dose", "age"], low=[0, 0], high=[2, 120])
    assert data.read("features").tolist() == [[0.5, 40], [1.5, 50], [1.5, 60]]
    assert data.facts["scaling"] == "nominal"
    assert data.facts["owners"] == "none"


def test_parquet(tmp_path: Path) -> None:
    columns = {
        "key": pa.array([7, 8, 9]),
        "who": pa.array(["ann", "ben", "ann"]).dictionary_encode(),
        "y": pa.array([0, 2, 1], pa.int8()),
        "small": pa.array([1.5, 2.5, 3.5], pa.float16()),
        "money": pa.array(["1.50", "2.25", "3.00"]).cast(pa.decimal128(6, 2)),
    }
    parquet.write_table(pa.table(columns), tmp_path / "x.parquet")
    data = table(tmp_path / "x.parquet", id="key", label="y", owner="who")
    assert data.ids == ("7", "8", "9")
    assert data.owners == ("ann", "ben", "ann")
    assert data.read("label").tolist() == [0, 2, 1]
    assert data.facts["classes"] == ["0", "1", "2"]
    assert data.read("features").tolist() == [[1.5, 1.5], [2.5, 2.25], [3.5, 3.0]]


def test_both_formats_give_the_same_data(tmp_path: Path) -> None:
    columns = {"id": ["a", "b"], "x": [1.5, 2.5], "y": ["no", "yes"]}
    parquet.write_table(pa.table(columns), tmp_path / "t.parquet")
    (tmp_path / "t.csv").write_text("id,x,y\na,1.5,no\nb,2.5,yes\n")
    one, other = (table(tmp_path / f"t.{ending}", id="id", label="y") for ending in ("csv", "parquet"))
    assert one.digest() == other.digest()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("patient,ward,age,outcome\n1,a,3,x\n1,b,4,y\n", "id '1' of 'study' stands for 2 samples"),
        ("patient,ward,age,outcome\n1,a,3,x\n2,b,,y\n", "column 'age' of .* is empty 1 times, first at id '2'"),
        ("patient,ward,age,outcome\n1,a,3,x\n,b,4,y\n", "empty 1 times, first at row 1"),
        ("patient,ward,age,outcome\n1,a,3,x\n2,,4,y\n", "owners of 'study' are empty 1 times, first at id '2'"),
        ("patient,ward,age,outcome\n1,a,3,1\n2,b,4,\n", "column 'outcome' of .* first at id '2'"),
        ("patient,ward,age,outcome\n1,a,3,0\n2,b,4,-1\n", "label -1 of id '2'"),
        ("patient,ward,age,outcome\n1,a,3,0\n2,b,4,0.5\n", "label 0.5 of id '2'"),
        ("patient,ward,age,outcome\n1,a,3,2020-01-01\n", "labels of 'study' hold datetime64"),
        ("patient,ward,age,outcome\n1,a,old,x\n", "feature 'age' of .* holds string; expected numbers"),
        ("patient,ward,age,outcome\n1,a,1e300,x\n", "infinity, first at id '1'"),
        ("patient,ward,outcome\n1,a,x\n", "no columns besides"),
        ("patient,ward,age,outcome\n", "no rows"),
        ("patient,ward,age\n1,a,3\n", "0 columns called 'outcome'; expected one of patient, ward, age"),
        ("patient,ward,outcome,outcome,age\n1,a,3,3,3\n", "2 columns called 'outcome'"),
        ("patient;ward;age;outcome\n1;a;3;x\n", "0 columns called 'patient'"),
        ("patient,ward,age,outcome\n1,a,3,x\n1,a\n", "cannot be read"),
        ("", "cannot be read"),
    ],
)
def test_csv_that_cannot_be_used(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(InvalidData, match=message) as caught:
        table(csv(tmp_path, content), **ROLES)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_text("hello")
    with pytest.raises(InvalidData, match="cannot be read"):
        table(tmp_path / "x.parquet", **ROLES)
    (tmp_path / "x.xlsx").write_text("hello")
    with pytest.raises(InvalidData, match=r"ends in '.xlsx'; expected .csv or .parquet"):
        table(tmp_path / "x.xlsx", **ROLES)
    with pytest.raises(MissingFile):
        table(tmp_path / "none.csv", **ROLES)


def test_without_pyarrow_the_message_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"needs pyarrow; .*pip install 'erasable\[data\]'"):
        table(csv(tmp_path), **ROLES)
