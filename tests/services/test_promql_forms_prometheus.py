"""Every form of the specification on a real Prometheus: a gate and the exported rules return the true value, or both refuse."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections.abc import Iterator
from datetime import datetime, timedelta
from fractions import Fraction

import pytest

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.indicators.prometheus.client import PrometheusClient
from airflow_slo_provider.indicators.prometheus.source import PrometheusSource
from airflow_slo_provider.slo.budget.indicator_source import Measurement
from airflow_slo_provider.slo.export.rule_expressions import error_ratio, no_events
from airflow_slo_provider.slo.model import Indicator, Objective
from airflow_slo_provider.slo.promql.reading.quantities import RefusedQuery
from tests.services.prometheus_server import running_prometheus
from tests.services.promql_truths import TRUTHS
from tests.services.promql_world import BUSY, NEVER, QUIET, world
from tests.services.remote_write import send
from tests.unit.indicators.prometheus_requests import ratio, request_over
from tests.unit.slo.promql_forms import FORMS, W

HOUR = timedelta(hours=1)
OBJECTIVE = Objective("", Fraction(99, 100))
#: Forms that are about one series.
SINGLE = {"single series without sum", "raw, average of a probe"}


def indicator(name: str, queries: dict[str, str]) -> Indicator:
    if name in SINGLE:
        one = {"errors_total": "single_errors_total", "requests_total": "single_requests_total"}
        one["probe_success"] = 'probe_success{instance="2"}'
        for metric, single in one.items():
            queries = {role: text.replace(metric, single) for role, text in queries.items()}
    return ratio(**queries, raw_type="success" if "raw" in queries else None)


ACCEPTED = {name: indicator(name, queries) for name, queries, kind, _ in FORMS if kind}
REFUSED = {name: indicator(name, queries) for name, queries, kind, _ in FORMS if not kind}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    flags = ["--web.enable-remote-write-receiver", "--enable-feature=native-histograms"]
    with running_prometheus(tmp_path_factory.mktemp("prometheus"), flags=flags) as address:
        send(address, world())
        yield address


@pytest.fixture
def source(url: str) -> Iterator[PrometheusSource]:
    client = PrometheusClient(url)
    yield PrometheusSource(client)
    client.close()


def evaluate(url: str, expressions: dict[str, str], at: datetime) -> dict[str, float]:
    """Evaluate expressions, many in one query; those without a value are left out."""
    found, names = dict[str, float](), list(expressions)
    for start in range(0, len(names), 25):
        part = names[start : start + 25]
        union = "\nor\n".join(f'label_replace((\n{expressions[name]}\n), "form", "{name}", "", "")' for name in part)
        data = urllib.parse.urlencode({"query": union, "time": at.timestamp()}).encode()
        with urllib.request.urlopen(f"{url}/api/v1/query", data) as answer:
            for series in json.load(answer)["data"]["result"]:
                name = series["metric"]["form"]
                assert name not in found, f"{name} has several series"
                found[name] = float(series["value"][1])
    return found


def rules(indicators: dict[str, Indicator]) -> dict[str, str]:
    return {name: error_ratio(item, OBJECTIVE, "1h") for name, item in indicators.items()}


def gates(source: PrometheusSource, indicators: dict[str, Indicator], at: datetime) -> dict[str, float | str]:
    """Return the share of bad events by the gate, or the reason why there is none."""
    found = source.measure([request_over(item, at, HOUR) for item in indicators.values()])
    return {
        name: float(1 - item.ratio) if isinstance(item, Measurement) else item.reason
        for name, item in zip(indicators, found, strict=True)
    }


def numbers(found: dict[str, float | str]) -> dict[str, float]:
    return {name: value for name, value in found.items() if not isinstance(value, str)}


def test_every_accepted_form_has_a_known_truth() -> None:
    assert set(TRUTHS) == set(ACCEPTED)


def test_gate_and_rules_return_the_true_value_of_every_form(url: str, source: PrometheusSource) -> None:
    roles = {name: next(iter(queries)) for name, queries, kind, _ in FORMS if kind}
    truth = {name: value if roles[name] == "bad" else 1 - value for name, value in TRUTHS.items()}
    assert gates(source, ACCEPTED, BUSY) == pytest.approx(truth, rel=1e-9, abs=1e-12)
    assert evaluate(url, rules(ACCEPTED), BUSY) == pytest.approx(truth, rel=1e-9, abs=1e-12)


def test_no_form_has_a_value_where_no_series_exists(url: str, source: PrometheusSource) -> None:
    found = gates(source, ACCEPTED, NEVER)
    assert numbers(found) == {}
    assert set(found.values()) == {"empty", "bad_series_missing"}
    assert evaluate(url, rules(ACCEPTED), NEVER) == {}
    quiet = {name: text for name, item in ACCEPTED.items() if (text := no_events(item, "1h"))}
    assert evaluate(url, quiet, NEVER) == {}, "the alert for missing data must fire"


def test_quiet_hour_is_no_events_and_no_missing_data(url: str, source: PrometheusSource) -> None:
    found = gates(source, ACCEPTED, QUIET)
    assert evaluate(url, rules(ACCEPTED), QUIET) == pytest.approx(numbers(found), rel=1e-9, abs=1e-12)
    silent = {name for name, value in found.items() if isinstance(value, str)}
    assert {found[name] for name in silent} == {"no_events"}
    quiet = {name: text for name in silent if (text := no_events(ACCEPTED[name], "1h"))}
    assert silent - set(quiet) == {"raw, mean of ratios"}, "what it is divided by is in a subquery"
    assert set(evaluate(url, quiet, QUIET)) == set(quiet), "the alert for missing data must not fire"


def test_refused_forms_are_refused_by_gate_and_rules(source: PrometheusSource) -> None:
    found = source.measure([request_over(item, BUSY, HOUR) for item in REFUSED.values()])
    for (name, item), error in zip(REFUSED.items(), found, strict=True):
        assert isinstance(error, QueryError), name
        with pytest.raises(RefusedQuery) as caught:
            error_ratio(item, OBJECTIVE, "1h")
        assert (str(caught.value), caught.value.reason) == (error.message, error.reason), name


FAILURES = {
    name: queries
    for name, queries, kind, _ in FORMS
    if kind and f"errors_total{W}" in str(queries) and name not in SINGLE
}  # fmt: skip
#: Forms whose answer is empty without failures; whether that means that nothing failed is not known.
EMPTY_IS_UNKNOWN = {
    *(
        "sum of two counts",
        "half weight",
        "half weight, divided",
        "renamed counter",
        "condition",
        "failure condition",
        "same offset",
        "total of good and bad",
    ),
    *(
        "join with group_left",
        "join with group_right",
        "join with the last sample",
        "raw, one minus",
        "raw, difference",
        "raw, errors over a subset",
    ),
}


@pytest.mark.parametrize(
    ("selector", "exists"), [("never_total", False), ('requests_total{kode="600"}', False), ('requests_total{code="600"}', True)]
)
def test_missing_failures_are_zero_only_if_their_metric_has_the_label(
    url: str, source: PrometheusSource, selector: str, exists: bool
) -> None:
    forms = {
        name: indicator("", {role: text.replace(f"errors_total{W}", f"{selector}{W}") for role, text in queries.items()})
        for name, queries in FAILURES.items()
        if "subtraction" not in name
    }
    found = gates(source, forms, BUSY)
    assert evaluate(url, rules(forms), BUSY) == pytest.approx(numbers(found), rel=1e-9, abs=1e-12)
    known = set(forms) - EMPTY_IS_UNKNOWN if exists else set()
    assert set(numbers(found)) == known
    assert {found[name] for name in known - {"two names added"}} <= {0}


def test_quiet_hour_has_data(source: PrometheusSource) -> None:
    names = ["counters, rate", "traffic filter", "least traffic", "empty total is no events", "maintenance left out"]
    for at, expected in ((QUIET, 1), (NEVER, 0)):
        assert source.coverage([request_over(ACCEPTED[name], at, HOUR) for name in names]) == [expected] * len(names)
