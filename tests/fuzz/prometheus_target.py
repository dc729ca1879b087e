"""Fuzz target of Prometheus responses: the result is a measurement that follows from the response, or an error.

An input is one byte that selects the request, and the response bodies in order; the last one is repeated.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

from airflow_slo_provider.exceptions import MeasurementError
from airflow_slo_provider.indicators.prometheus.answer_checks import read_envelope, verify_data
from airflow_slo_provider.indicators.prometheus.client import PrometheusClient
from airflow_slo_provider.indicators.prometheus.source import PrometheusSource
from airflow_slo_provider.slo.budget.indicator_source import Measurement, MeasureRequest, Slices
from airflow_slo_provider.slo.model import Indicator, MetricSource, RatioMetric, ThresholdMetric
from tests.fuzz.targets import Finding

END = datetime(2026, 11, 1, 12, tzinfo=UTC)
BETWEEN = b"\n---\n"
_AT = 1793534400
_STATUSES = (200, 200, 200, 200, 200, 400, 503, 302)


def _one(value: str, kind: str = "vector", **more: Any) -> str:
    sample = {"metric": {"__name__": "x", "code": "200"}, "value": [_AT, value]}
    result = [_AT, value] if kind == "scalar" else [sample]
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}, **more})


def _series(*points: tuple[int, str], label: str = "0") -> str:
    row = {"metric": {"slo_q": label}, "values": [[_AT - 3600 + at, text] for at, text in points]}
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": [row]}})


SEEDS = [
    "0" + _one("0.5"),
    "1" + _one("5e-324", "scalar"),
    "0" + _one("NaN") ,
    "2" + _one("99") + "\n---\n" + _one("100"),
    "2" + json.dumps({"status": "success", "data": {"resultType": "vector", "result": [
        {"metric": {"code": code}, "value": [_AT, text]} for code, text in (("200", "1e+06"), ("500", "12"), ("", "+Inf"))
    ]}}),
    "3" + _series((0, "99"), (600, "100"), (1200, "NaN")),
    "4" + json.dumps({"status": "success", "data": {"resultType": "matrix", "result": [
        {"metric": {"code": code}, "values": [[_AT - 3600 + 600 * n, str(n)] for n in range(7)]} for code in ("200", "500")
    ]}}),
    "5" + _one("1", warnings=["a block is missing"]),
    "6" + json.dumps({"status": "error", "errorType": "bad_data", "error": "parse error"}),
    "7" + _series((0, "1"), (3600, "0")),
    "0" + _one("0.5", isPartial=True),
    "0" + _one("0.5", isPartial=False, stats={"seriesFetched": "3"}),
    "0" + _one("0.5", errorType="timeout", error="token=hunter2"),
    "0" + _one("0.5").replace('"status"', '"status": "error", "status"'),
    "0" + _one("0.5").replace(str(_AT), str(_AT - 60)),
    "0" + _one("0.5", warnings=["Authorization: Bearer hunter2"]),
    "1" + _one("0.5", "scalar").replace(str(_AT), f"{_AT}.001"),
    ":" + _series((600, "1"), (900, "1"), (1200, "0")),
    "2" + json.dumps({"status": "success", "data": {"resultType": "vector", "result": [
        {"metric": {"token": "hunter2"}, "value": [_AT, "1"]}, {"metric": {"token": "hunter2"}, "value": [_AT, "2"]}
    ]}}),
]  # fmt: skip


class _Server:
    """Replaces prometheus-api-client's connection; bodies are parsed as the session parses them."""

    def __init__(self, status: int, bodies: list[bytes]) -> None:
        self._status, self._bodies = status, bodies
        self.told: list[bytes] = []
        self._session = SimpleNamespace(envelope={})

    def custom_query(self, query: str, **_: Any) -> None:
        body = self._bodies.pop(0) if len(self._bodies) > 1 else self._bodies[0]
        self.told.append(body)
        self._session.envelope = read_envelope(
            self._status, body, query=query, source="http://x", secrets=("hunter2",), location="http://user:hunter2@x/"
        )
        verify_data(self._session.envelope["data"], query=query, source="http://x")

    def custom_query_range(self, query: str, *_: Any, **__: Any) -> None:
        self.custom_query(query)


def _query(text: str) -> MetricSource:
    return MetricSource("Prometheus", None, text)


_GOOD = 'sum(increase(requests_total{code!~"5.."}[{{.window}}]))'
_BAD = 'sum(increase(requests_total{code=~"5.."}[{{.window}}]))'
_TOTAL = "sum(increase(requests_total[{{.window}}]))"
_METRICS = (
    RatioMetric(raw=_query("avg_over_time(up[{{.window}}])"), raw_type="success"),
    RatioMetric(raw=_query("avg_over_time(down[{{.window}}])"), raw_type="failure"),
    RatioMetric(good=_query(_GOOD), total=_query(_TOTAL), counter=True),
    RatioMetric(bad=_query(_BAD), total=_query(_TOTAL), counter=True),
    RatioMetric(bad=_query("sum_over_time(bad[{{.window}}])"), total=_query("sum_over_time(all[{{.window}}])")),
    ThresholdMetric(_query("latency_seconds")),
)


def _requests(number: int) -> list[MeasureRequest]:
    chosen = _METRICS if number % 8 > 5 else _METRICS[number % 8 : number % 8 + 1]
    start = END - timedelta(hours=1)
    return [MeasureRequest(Indicator("x", metric), start, END, "lte", Fraction(1, 4)) for metric in chosen]


def run(data: bytes) -> None:
    first, bodies = data[:1] or b"0", data[1:].split(BETWEEN)
    number = first[0] - ord("0")
    status = _STATUSES[(number // 32) % 8]
    client = PrometheusClient("http://user:hunter2@localhost:1")
    server = _Server(status, bodies)
    client._connect = server  # type: ignore[assignment]
    source, requests = PrometheusSource(client, parallel=1), _requests(number)
    how = (number // 8) % 4
    if how == 1:
        answers: list[Any] = source.slices(requests, timedelta(minutes=10))
    elif how == 2:
        answers = source.coverage(requests)
    else:
        answers = source.measure(requests)
    for request, answer in zip(requests, answers, strict=True):
        _check(request, answer, status, server.told)


def _check(request: MeasureRequest, answer: Any, status: int, told: list[bytes]) -> None:
    if isinstance(answer, MeasurementError):
        if "hunter2" in str(answer):
            raise Finding("a message shows the password")
        str(answer).encode()
        return
    if not any(_whole(status, body) for body in told):
        raise Finding(f"no answer was whole, and yet: {answer}")
    if isinstance(answer, Fraction):
        if not 0 <= answer <= 1:
            raise Finding(f"coverage {answer}")
        return
    for one in answer.values if isinstance(answer, Slices) else [answer]:
        if one is not None:
            _check_measurement(one)
    metric = request.indicator.metric
    if isinstance(answer, Measurement) and isinstance(metric, RatioMetric) and metric.raw and len(told) == 1:
        _check_raw(answer, metric, told[0])


def _check_measurement(one: Measurement) -> None:
    if not 0 <= one.ratio <= 1:
        raise Finding(f"ratio {one.ratio}")
    if one.total is not None and (one.total <= 0 or one.good is None or not 0 <= one.good <= one.total):
        raise Finding(f"{one.good} of {one.total}")


def _check_raw(answer: Measurement, metric: RatioMetric, body: bytes) -> None:
    """Parse again, strictly by the documentation of the API."""
    data = json.loads(body)["data"]
    rows = [data["result"]] if data["resultType"] == "scalar" else [row["value"] for row in data["result"]]
    if len(rows) != 1:
        raise Finding(f"{len(rows)} series taken for one")
    value = float(rows[0][1])
    told = 1 - value if metric.raw_type == "failure" else value
    if not abs(float(rows[0][0]) - _AT) < 0.0025:
        raise Finding(f"a sample of {rows[0][0]} taken for one of {_AT}")
    if not abs(told - float(answer.ratio)) < 1e-9:
        raise Finding(f"the server said {rows[0][1]}, the answer is {float(answer.ratio)}")


def _whole(status: int, body: bytes) -> bool:
    """Check independently that a response is complete."""
    twice = False

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal twice
        twice = twice or len({name for name, _ in pairs}) != len(pairs)
        return dict(pairs)

    try:
        told = json.loads(body, object_pairs_hook=once)
    except (ValueError, RecursionError):
        return False
    if twice or status != 200 or not isinstance(told, dict) or told.get("status") != "success":
        return False
    return told.get("isPartial", False) is False and not any(told.get(name) for name in ("warnings", "error", "errorType"))
