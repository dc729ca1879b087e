"""What errors say, and of which kind they are."""

from __future__ import annotations

import pickle

import pytest

from airflow_slo_provider.exceptions import (
    DocumentError,
    Fault,
    InvalidMeasurement,
    LedgerError,
    MeasurementError,
    NoData,
    QueryError,
    SLOProviderError,
)


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (Fault("is wrong"), "<text>: is wrong"),
        (Fault("is wrong", line=3), "<text>:3: is wrong"),
        (Fault("is wrong", "spec.x", "SLO/a", "f.yaml", 3), "f.yaml:3: SLO/a spec.x: is wrong"),
        (Fault("is wrong", document="SLO/a", file="f.yaml"), "f.yaml: SLO/a: is wrong"),
        (Fault("is wrong", path="spec.x", file="f.yaml"), "f.yaml: spec.x: is wrong"),
    ],
)
def test_fault_text_has_location(fault: Fault, text: str) -> None:
    assert str(fault) == text


def test_document_error_text_has_all_faults() -> None:
    faults = [Fault("one", line=1), Fault("two", line=2)]
    error = DocumentError(faults)
    assert error.faults == tuple(faults)
    assert str(error) == "<text>:1: one\n<text>:2: two"
    assert isinstance(error, ValueError)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [(MeasurementError, "measurement_error"),
     (NoData, "no_data"), (InvalidMeasurement, "invalid_measurement"), (QueryError, "query_error")],
)  # fmt: skip
def test_measurement_error_has_query_and_source(kind: type[MeasurementError], reason: str) -> None:
    error = kind("it broke", query="up", source="http://prometheus:9090", http_status=503, transient=True)
    assert str(error) == "it broke; query: up; asked: http://prometheus:9090"
    assert (error.reason, error.transient, error.http_status) == (reason, True, 503)
    assert kind("it broke", reason="odd").reason == "odd"
    assert not kind("it broke").transient


@pytest.mark.parametrize(
    "error",
    [
        DocumentError([Fault("one", "spec", "SLO/a", "f.yaml", 1)]),
        NoData("nothing", query="up", reason="empty"),
        QueryError("it broke", query="up", source="there", http_status=429, transient=True),
        LedgerError("locked", reason="locked", transient=True),
    ],
)
def test_errors_are_picklable(error: SLOProviderError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)
