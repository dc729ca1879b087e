"""SLOs written in Python."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from airflow_slo_provider.exceptions import InvalidMeasurement, NoData
from airflow_slo_provider.indicators.prometheus.client import PrometheusClient
from airflow_slo_provider.indicators.prometheus.client_adapters import make_source
from airflow_slo_provider.indicators.prometheus.source import PrometheusSource
from airflow_slo_provider.slo.budget.monitor import SLOMonitor
from airflow_slo_provider.slo.budget.reports import Status
from airflow_slo_provider.slo.code_first import SLIDefinition, SLIType, SLOConfig
from airflow_slo_provider.slo.policy.error_budget_policy import Action, ErrorBudgetPolicy
from tests.unit.slo.monitor_builders import AT, DAY, MINUTE, MemorySource, steady

QUERY = "sum(rate(ok[{{.window}}])) / sum(rate(all[{{.window}}]))"
GOOD = SLIDefinition("Availability (API)", QUERY, "0.98")


def monitor(events: Any, **fields: Any) -> SLOMonitor:
    return SLOMonitor(SLOConfig("fraud-model", [GOOD], **fields), MemorySource(**{QUERY: events}))


def test_monitor_of_config_computes_sli_budget_and_status() -> None:
    found = monitor(steady(1))
    assert found.check_sli(GOOD, AT) == found.check_sli("availability-api", AT) == Fraction(99, 100)
    assert found.compute_error_budget(GOOD, AT).remaining == Fraction(1, 2)
    assert found.get_status(AT) == {"Availability (API)": Status.HEALTHY}
    assert found.should_allow_deployment(AT)


def test_should_allow_deployment_with_spent_budget_follows_policy() -> None:
    assert not monitor(steady(2)).should_allow_deployment(AT)
    assert not monitor(steady(2), error_budget_policy="escalate").should_allow_deployment(AT)
    assert monitor(steady(2), error_budget_policy="alert").should_allow_deployment(AT)
    assert monitor(steady(2), error_budget_policy=ErrorBudgetPolicy("none", ())).should_allow_deployment(AT)


def test_should_allow_deployment_without_data_is_false() -> None:
    found = monitor(NoData("nothing"))
    assert not found.should_allow_deployment(AT)
    assert found.get_status(AT) == {"Availability (API)": Status.NO_DATA}
    for method in (found.check_sli, found.compute_error_budget):
        with pytest.raises(NoData):
            method(GOOD, AT)


def test_alert_burn_rate_exceeded_warns() -> None:
    events = [(10 * DAY, 1000, 0), (MINUTE, 97, 3)]
    config = SLOConfig("s", [GOOD], alert_burn_rate=1)
    (rule,) = [rule for rule in config.policy().rules if rule.action is Action.ALERT]
    assert (rule.enter, str(rule.window)) == (1, "1h")
    assert monitor(events, alert_burn_rate=1).should_allow_deployment(AT)


def test_window_hours_set_the_slo_window() -> None:
    day = SLIDefinition("a", QUERY, 0.5, SLIType.LATENCY, window_hours=24)
    assert str(day.slo("s").window.duration) == "1d"
    assert str(GOOD.slo("s").window.duration) == "30d"
    assert day.slo("s").objectives[0].target == Fraction(1, 2)


def test_query_without_window_is_averaged() -> None:
    instant = SLIDefinition("a", "sum(rate(ok[5m])) / sum(rate(all[5m]))", 0.9)
    (source,) = instant.slo("s").indicator.metric.sources  # type: ignore[union-attr]
    assert source.query == "avg_over_time((\nsum(rate(ok[5m])) / sum(rate(all[5m]))\n)[{{.window}}:1m])"


@pytest.mark.parametrize("target", ["0.999", 0.999, Decimal("0.999"), Fraction(999, 1000)])
def test_target_of_definition_is_exact(target: Any) -> None:
    assert SLIDefinition("a", QUERY, target).slo("s").objectives[0].target == Fraction(999, 1000)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": " "},
        {"query": ""},
        {"target": 1.0},
        {"target": 0},
        {"target": 99.9},
        {"target": float("nan")},
        {"window_hours": 0},
        {"window_hours": 1.5},
        {"window_hours": True},
    ],
)
def test_sli_definition_with_invalid_field_raises_value_error(fields: dict[str, Any]) -> None:
    with pytest.raises((ValueError, InvalidMeasurement)):
        SLIDefinition(**({"name": "a", "query": QUERY, "target": 0.9} | fields))


@pytest.mark.parametrize(
    "fields",
    [{"slis": []}, {"slis": [GOOD, GOOD]}, {"error_budget_policy": "shrug"}, {"alert_burn_rate": 0}, {"alert_burn_rate": -1}],
)
def test_slo_config_with_invalid_field_raises_value_error(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"SLO config s|is not a valid Action"):
        SLOConfig(**({"name": "s", "slis": [GOOD]} | fields))


def test_monitor_accepts_every_prometheus_client() -> None:
    from prometheus_api_client import PrometheusConnect

    ours = PrometheusClient("http://127.0.0.1:1")
    for client in ("http://127.0.0.1:1", ours, ours.connect):
        assert isinstance(make_source(client), PrometheusSource)
    theirs = PrometheusConnect("http://127.0.0.1:1", headers={"X-Tenant": "a"}, auth=("user", "word"), disable_ssl=True)
    source = make_source(theirs)
    assert isinstance(source, PrometheusSource)
    settings = source.client.settings
    assert (settings.headers, settings.basic, settings.verify) == ({"X-Tenant": "a"}, ("user", "word"), False)
    with pytest.raises(TypeError, match="not int"):
        make_source(7)
