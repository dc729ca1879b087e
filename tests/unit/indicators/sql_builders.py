"""What the SQL indicator's tests share."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

from airflow_slo_provider.exceptions import MeasurementError
from airflow_slo_provider.indicators.sql.source import SQLSource
from airflow_slo_provider.slo.budget.indicator_source import Measurement, MeasureRequest
from airflow_slo_provider.slo.model import Indicator, MetricSource, RatioMetric, ThresholdMetric

T0 = datetime(2026, 11, 1, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
BOUNDS = "ts >= :date_from AND ts < :date_to"

ONE_ROW = f"SELECT SUM(ok) AS good, COUNT(*) AS total FROM requests WHERE {BOUNDS}"
PER_MINUTE = (
    "SELECT strftime('%Y-%m-%dT%H:%M:00Z', ts) AS timestamp, SUM(ok) AS good, COUNT(*) AS total "
    f"FROM requests WHERE {BOUNDS} GROUP BY 1"
)
LATENCIES = f"SELECT ts || '+00:00' AS timestamp, latency AS value FROM requests WHERE {BOUNDS}"


def source(query: str, **spec: Any) -> MetricSource:
    return MetricSource("SQL", None, query, spec)


def ratio(good: str, total: str | None = None, **spec: Any) -> Indicator:
    """Make an indicator of good and total; of one query if the second is not set."""
    return Indicator("i", RatioMetric(good=source(good, **spec), total=source(total or good, **spec)))


def bad_ratio(bad: str, total: str | None = None, **spec: Any) -> Indicator:
    return Indicator("i", RatioMetric(bad=source(bad, **spec), total=source(total or bad, **spec)))


def raw(query: str, raw_type: str = "success", **spec: Any) -> Indicator:
    return Indicator("i", RatioMetric(raw=source(query, **spec), raw_type=raw_type))


def threshold(query: str, **spec: Any) -> Indicator:
    return Indicator("i", ThresholdMetric(source(query, **spec)))


def request_of(indicator: Indicator, start: datetime = T0, end: datetime = T0 + HOUR, **more: Any) -> MeasureRequest:
    return MeasureRequest(indicator, start, end, **more)


def limit(op: str, value: str) -> dict[str, Any]:
    return {"op": op, "value": Fraction(value)}


class FixedRunner:
    """A runner that returns fixed rows or raises an error, and records its calls."""

    def __init__(self, columns: list[str], *rows: tuple[Any, ...], error: Exception | None = None) -> None:
        self.answer, self.error, self.calls = (columns, rows), error, []  # type: ignore[var-annotated]

    def __call__(self, query: str, parameters: Any, /) -> Any:
        self.calls.append((query, parameters))
        if self.error:
            raise self.error
        return self.answer


def measure(source: SQLSource, request: Any) -> Measurement:
    """Measure one request, and return the measurement or raise its error."""
    (answer,) = source.measure([request])
    if isinstance(answer, MeasurementError):
        raise answer
    return answer


def measure_rows(*rows: tuple[Any, ...], columns: str = "good total", **more: Any) -> Measurement:
    return measure(SQLSource(FixedRunner(columns.split(), *rows), name="x"), request_of(ratio(ONE_ROW), **more))
