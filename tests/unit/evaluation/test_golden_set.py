"""Golden sets: read, refused, named by content; and predictions joined to them by id."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from airflow_slo_provider.evaluation.rows.golden_set import Schema, make_golden_set, read_table
from airflow_slo_provider.evaluation.rows.predictions import join
from airflow_slo_provider.exceptions import InvalidMeasurement, NoData
from tests.unit.evaluation.builders import frame, golden, make_predictions

WRITERS = {
    "csv": lambda rows, path: rows.to_csv(path, index=False),
    "jsonl": lambda rows, path: rows.to_json(path, orient="records", lines=True, double_precision=15),
    "parquet": lambda rows, path: rows.to_parquet(path, index=False),
}


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_content_hash_ignores_format_and_order(tmp_path: Path, form: str) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow")
    rows = frame(50).round({"amount": 6, "age": 6})
    path = tmp_path / f"golden.{form}"
    WRITERS[form](rows.sample(frac=1, random_state=1)[rows.columns[::-1]], path)
    found = make_golden_set(read_table(path), Schema(segments=("region",)), str(path))
    assert found.content_hash == golden(rows).content_hash
    assert (found.rows, list(found.features())) == (50, [name for name in found.frame if name in ("amount", "age")])


@pytest.mark.parametrize("column", ["label", "amount", "region", "id"])
def test_content_hash_of_changed_value_differs(column: str) -> None:
    rows = frame(50)
    changed = rows.copy()
    changed.loc[7, column] = {"label": 1 - rows.loc[7, "label"], "amount": 0.25}.get(column, "elsewhere")
    assert golden(changed).content_hash != golden(rows).content_hash


def test_content_hash_of_large_integers_differs() -> None:
    near = [frame(3, seed=0, account=[2**60, 2**60 + shift, 5]) for shift in (1, 2)]
    assert golden(near[0]).content_hash != golden(near[1]).content_hash


def test_golden_set_with_duplicate_id_is_rejected() -> None:
    rows = frame(5)
    rows.loc[3, "id"] = rows.loc[1, "id"]
    with pytest.raises(InvalidMeasurement, match=r"1 ids occur more than once, e\.g\. r00001"):
        golden(rows)


def test_golden_set_with_missing_id_is_rejected() -> None:
    rows = frame(5)
    rows.loc[3, "id"] = None
    with pytest.raises(InvalidMeasurement, match="1 of 5 rows have no id"):
        golden(rows)


def test_golden_set_without_rows_or_labels_has_no_data() -> None:
    with pytest.raises(NoData, match="has no rows"):
        golden(frame(0))
    rows = frame(5).astype({"label": "object"})
    rows["label"] = None
    with pytest.raises(NoData, match="none of 5 rows has a label"):
        golden(rows)


def test_golden_set_without_required_column_is_rejected() -> None:
    with pytest.raises(InvalidMeasurement, match="no column 'lable'; did you mean 'label'"):
        golden(label="lable")


@pytest.mark.parametrize(
    ("name", "content", "error", "match"),
    [
        ("golden.csv", b"", NoData, "empty"),
        ("golden.parquet", b"not parquet", InvalidMeasurement, "not readable as parquet"),
        ("golden.jsonl", b"{]", InvalidMeasurement, "not readable as jsonl"),
        ("golden.xml", b"<a/>", InvalidMeasurement, "not a table format"),
        (None, b"", NoData, "no such file"),
    ],
)
def test_unreadable_file_is_rejected(
    tmp_path: Path, name: str | None, content: bytes, error: type[Exception], match: str
) -> None:
    if name == "golden.parquet":
        pytest.importorskip("pyarrow")
    if name:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=match):
        read_table(tmp_path / (name or "nowhere.csv"))


def test_predictions_are_joined_by_id() -> None:
    rows = frame(50)
    found = join(golden(rows), make_predictions(rows.iloc[::-1], rows["label"].to_numpy()[::-1]))
    assert found.coverage == 1
    assert (found.sample.truth == found.sample.prediction).all()


@pytest.mark.parametrize("kind", [str, float, np.int64])
def test_ids_of_different_types_are_joined(kind: type) -> None:
    rows = frame(10, id=range(10))
    predictions = make_predictions(rows.assign(id=rows["id"].astype(kind)), rows["label"])
    assert join(golden(rows), predictions).coverage == 1


def test_rows_without_prediction_are_counted() -> None:
    rows = frame(50).astype({"label": "float"})
    rows.loc[0, "label"] = np.nan
    prediction = np.ones(50)
    prediction[1] = np.nan
    given = rows[rows["id"] != "r00002"]
    extra = pd.concat([given, given.tail(1).assign(id="stranger")])
    found = join(golden(rows), make_predictions(extra, [*prediction[given.index], 1.0]))
    assert found.coverage == 47 / 50
    assert (found.unpredicted, found.missing, found.extra, found.sample.n) == (2, ("r00001", "r00002"), 1, 47)


def test_two_predictions_for_one_id_are_rejected() -> None:
    rows = frame(5)
    with pytest.raises(InvalidMeasurement, match=r"1 ids have more than one prediction, e\.g\. r00004"):
        join(golden(rows), make_predictions(pd.concat([rows, rows.tail(1)]), np.zeros(6)))


def test_row_without_prediction_is_ranked_last() -> None:
    rows = pd.DataFrame(
        {"id": list("abcdef"), "label": [1, 0, 0, 1, 0, 0], "query": [1, 1, 1, 2, 2, 2], "region": "north", "amount": 0.0}
    )
    found = join(golden(rows, group="query"), make_predictions(rows.iloc[[1, 2]], [0.5, 0.7]))
    assert found.ranked.prediction[:3].tolist() == [-0.5, 0.5, 0.7]
    assert np.isnan(found.ranked.prediction[3:]).all()
    assert found.sample.prediction.tolist() == [0.5, 0.7]  # what no model said is nothing to score
    assert found.coverage == 2 / 6
