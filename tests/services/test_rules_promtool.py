"""The generated rules in Prometheus' own rule engine (promtool): what they record, and which alerts fire."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from airflow_slo_provider.documents.durations import parse_duration
from airflow_slo_provider.slo.export.prometheus_rules import rules
from airflow_slo_provider.slo.model import BudgetingMethod, MissingSlices, Options, RatioMetric
from tests.services.promtool import (
    BURN,
    LABELS,
    NO_DATA,
    PERIOD,
    burns,
    equals,
    fires,
    no_data,
    nothing,
    run,
    series,
)
from tests.support import acceptance
from tests.unit.slo.rules_builders import (
    bad_over_total,
    catalog,
    condition,
    good_over_total,
    policy,
    prometheus,
    slo,
    threshold,
)

TOTAL = 'http_request_duration_seconds_count{job="myservice"}'


@pytest.mark.parametrize(
    "metric",
    [
        pytest.param(bad_over_total(), id="bad-of-counters"),
        pytest.param(good_over_total(), id="good-of-counters"),
        pytest.param(
            bad_over_total(
                'sum(rate(http_request_duration_seconds_count{job="myservice",code=~"(5..|429)"}[{{.window}}]))',
                'sum(rate(http_request_duration_seconds_count{job="myservice"}[{{ .window }}]))',
            ),
            id="windows-as-in-sloth",
        ),
    ],
)
def test_four_scenarios_fire_as_published(tmp_path: Path, metric: RatioMetric) -> None:
    """The scenarios of acceptance/slo/promtool/mwmb_alerts.test.yml, through our rules."""
    ratio1h = 'slo:sli_error:ratio_rate1h{slo="requests-availability"}'
    run(
        tmp_path,
        rules(catalog(slo(metric))),
        {
            "name": "burn 20: page and ticket",
            "interval": "1m",
            "input_series": series(ok="0+98x2000", failed="0+2x2000"),
            "promql_expr_test": [
                equals(ratio1h, 0.02, "3h"),
                equals("slo:current_burn_rate:ratio", 20, "3h"),
                equals("slo:period_burn_rate:ratio", 20, "3h"),
                equals("slo:period_error_budget_remaining:ratio", -19, "3h"),
            ],
            "alert_rule_test": [fires(BURN, "3h", burns("page", "20"), burns("ticket", "20"))],
        },
        {
            "name": "burn 2: ticket only",
            "interval": "1m",
            "input_series": series(ok="0+998x6000", failed="0+2x6000"),
            "promql_expr_test": [equals(ratio1h, 0.002, "80h"), equals("slo:period_error_budget_remaining:ratio", -1, "80h")],
            "alert_rule_test": [fires(BURN, "80h", burns("ticket", "2"))],
        },
        {
            "name": "burn 0.5: nothing",
            "interval": "1m",
            "input_series": series(ok="0+1999x6000", failed="0+1x6000"),
            "promql_expr_test": [equals("slo:period_error_budget_remaining:ratio", 0.5, "80h")],
            "alert_rule_test": [fires(BURN, "80h"), fires(NO_DATA, "80h")],
        },
        {
            "name": "cold start: ten minutes of life, all failing, pages",
            "interval": "1m",
            "input_series": series(failed="0+10x10"),
            "promql_expr_test": [equals("slo:period_error_budget_remaining:ratio", -999, "10m")],
            # "1k" is how Prometheus' humanize writes 1000.
            "alert_rule_test": [fires(BURN, "10m", burns("page", "1k"), burns("ticket", "1k"))],
        },
        every="5m",
    )


def test_recorded_numbers_and_labels_are_exact(tmp_path: Path) -> None:
    labelled = slo(labels={"team": ("search", "web"), "app.kubernetes.io/name": ("shop",), "slo": ("mine",)})
    all_labels = (
        'app_kubernetes_io_name="shop", label_slo="mine", region="eu", slo="requests-availability", '
        'slo_objective="0.999", slo_service="myservice", team="search,web"'
    )

    def sample(name: str, value: float, labels: str = "") -> dict[str, Any]:
        return {"expr": name, "eval_time": "1h", "exp_samples": [{"labels": f"{name}{{{all_labels}{labels}}}", "value": value}]}

    run(
        tmp_path,
        rules(catalog(labelled), extra_labels={"region": "eu"}, interval="30s"),
        {
            "interval": "1m",
            "input_series": series(ok="0+99x100", failed="0+1x100"),
            "promql_expr_test": [
                sample("slo:objective:ratio", 0.999),
                sample("slo:error_budget:ratio", 0.001),
                sample("slo:time_period:days", 30),
                sample("slo_info", 1, ', slo_method="Occurrences", slo_period="30d"'),
                sample("slo:sli_error:ratio_rate5m", 0.01, ', slo_window="5m"'),
                sample("slo:current_burn_rate:ratio", 10, ', slo_window="5m"'),
            ],
        },
    )


@pytest.mark.parametrize("metric", [bad_over_total(), good_over_total()], ids=["bad", "good"])
def test_uneven_traffic_is_weighted_by_events(tmp_path: Path, metric: RatioMetric) -> None:
    """Half of few requests fail at night, none of many by day: sloth's mean of 5-minute ratios sees fifty times the errors."""
    acceptance_rules = acceptance("slo", "promtool", "sloth-getting-started.rules.yml")
    night = {"ok": "0+5x720 4600+1000x719", "failed": "0+5x720 3600+0x719"}
    truth = Fraction(3600, 3600 + 3600 + 1000 * 720)
    ours, theirs = f'{PERIOD}{{slo="requests-availability"}}', f'{PERIOD}{{sloth_slo="requests-availability"}}'
    run(
        tmp_path,
        rules(catalog(slo(metric))),
        {
            "interval": "1m",
            "input_series": series(**night),
            "promql_expr_test": [
                equals(ours, truth, "24h"),
                equals('slo:period_error_budget_remaining:ratio{slo_service="myservice"}', 1 - truth * 1000, "24h"),
                {"expr": f"count({theirs} > 0.24)", "eval_time": "24h", "exp_samples": [{"labels": "{}", "value": 1}]},
            ],
        },
        more=(acceptance_rules,),
    )


@pytest.mark.parametrize(
    "total",
    [
        f"sum(rate({TOTAL}[{{{{.window}}}}])) > 0",
        f"sum(rate({TOTAL}[{{{{.window}}}}]) > 0)",
        f"sum(rate({TOTAL}[{{{{.window}}}}])) or vector(0)",
        f"sum(rate({TOTAL}[{{{{.window}}}}])) unless on () (maintenance == 1)",
    ],
)
def test_filtered_total_alerts_only_where_series_are_missing(tmp_path: Path, total: str) -> None:
    bad = f'sum(rate({TOTAL.removesuffix("}")},code="500"}}[{{{{.window}}}}])) or vector(0)'
    run(
        tmp_path,
        rules(catalog(slo(bad_over_total(bad, total)))),
        {
            "name": "no traffic",
            "interval": "1m",
            "input_series": series(ok="5+0x120", failed="1+0x120"),
            "promql_expr_test": [nothing('{__name__=~"slo:sli_error:.*"}', "100m")],
            "alert_rule_test": [fires(NO_DATA, "100m")],
        },
        {
            "name": "traffic without a failure",
            "interval": "1m",
            "input_series": series(ok="0+10x60"),
            "promql_expr_test": [equals("slo:sli_error:ratio_rate1h", 0, "60m")],
            "alert_rule_test": [fires(NO_DATA, "60m")],
        },
        {
            "name": "series that end",
            "interval": "1m",
            "input_series": series(ok="0+10x60"),
            "promql_expr_test": [nothing("slo:sli_error:ratio_rate5m", "75m")],
            "alert_rule_test": [fires(NO_DATA, "60m"), fires(NO_DATA, "75m", no_data())],
        },
        {
            "name": "never any series",
            "interval": "1m",
            "input_series": series(other="0+1x60"),
            "promql_expr_test": [nothing('{__name__=~"slo:sli_error:.*"}', "30m")],
            "alert_rule_test": [fires(NO_DATA, "30m", no_data())],
        },
    )


def test_missing_data_gives_no_ratio_and_alerts(tmp_path: Path) -> None:
    ratio = '{__name__=~"slo:sli_error:.*"}'
    remaining = "slo:period_error_budget_remaining:ratio"
    run(
        tmp_path,
        rules(catalog(slo())),
        {
            "name": "never any series",
            "interval": "1m",
            "input_series": series(other="0+1x60"),
            "promql_expr_test": [nothing(ratio, "30m"), nothing(remaining, "30m")],
            "alert_rule_test": [fires(NO_DATA, "2m"), fires(NO_DATA, "30m", no_data()), fires(BURN, "30m")],
        },
        {
            "name": "series that end: not at once, and what is known of longer windows stays",
            "interval": "1m",
            "input_series": series(ok="0+10x60"),
            "promql_expr_test": [nothing("slo:sli_error:ratio_rate5m", "72m"), equals("slo:sli_error:ratio_rate6h", 0, "72m")],
            "alert_rule_test": [fires(NO_DATA, "60m"), fires(NO_DATA, "66m"), fires(NO_DATA, "72m", no_data())],
        },
        {
            "name": "an error series that does not exist is 0 where the total exists",
            "interval": "1m",
            "input_series": series(ok="0+10x60"),
            "promql_expr_test": [equals("slo:sli_error:ratio_rate1h", 0, "60m"), equals(remaining, 1, "60m")],
            "alert_rule_test": [fires(NO_DATA, "60m")],
        },
        {
            "name": "no traffic: no ratio, and no fault either",
            "interval": "1m",
            "input_series": series(ok="5+0x120", failed="1+0x120"),
            "promql_expr_test": [nothing(ratio, "100m"), nothing(remaining, "100m")],
            "alert_rule_test": [fires(NO_DATA, "100m"), fires(BURN, "100m")],
        },
        {
            "name": "an error series without a total is no ratio",
            "interval": "1m",
            "input_series": [{"series": 'http_request_duration_seconds_count{code="500"}', "values": "0+1x60"}],
            "promql_expr_test": [nothing(ratio, "60m")],
        },
    )


def test_good_above_total_records_no_value(tmp_path: Path) -> None:
    metric = RatioMetric(good=prometheus("sum(good_total)"), total=prometheus("sum(all_total)"), counter=True)
    run(
        tmp_path,
        rules(catalog(slo(metric))),
        {
            "name": "a contradiction",
            "interval": "1m",
            "input_series": series(good_total="0+11x60", all_total="0+10x60"),
            "promql_expr_test": [nothing("slo:sli_error:ratio_rate5m", "60m")],
            "alert_rule_test": [fires(NO_DATA, "60m", no_data())],
        },
        {
            "name": "no good series at all: everything is bad",
            "interval": "1m",
            "input_series": series(all_total="0+10x60"),
            "promql_expr_test": [equals("slo:sli_error:ratio_rate5m", 1, "60m")],
        },
        {
            "name": "all good, in several series whose sums round differently",
            "interval": "1m",
            "input_series": [
                {"series": f'{name}{{instance="{number}"}}', "values": f"0+0.{number}x60"}
                for name in ("good_total", "all_total")
                for number in ((1, 2, 3, 7) if name == "good_total" else (7, 3, 2, 1))
            ],
            "promql_expr_test": [
                equals("slo:sli_error:ratio_rate5m", 0, "60m"),
                nothing("slo:sli_error:ratio_rate5m < 0", "60m"),
            ],
        },
    )


def test_policy_alert_fires_after_alert_after(tmp_path: Path) -> None:
    documented = slo(alert_policies=(policy(condition()),))
    labels = LABELS | {"severity": "page", "alert_policy": "high-priority"}
    annotations = {
        "summary": "myservice requests-availability: burn rate > 2 over 1h",
        "description": "myservice requests-availability burns its error budget at 4 times the rate that lasts 30d, "
        "measured over 1h. Somebody should look.",
    }
    run(
        tmp_path,
        rules(catalog(documented)),
        {
            "interval": "1m",
            "input_series": series(ok="0+996x120", failed="0+4x120"),
            "alert_rule_test": [
                fires("RequestsAvailabilityFastBurn", "4m"),
                fires("RequestsAvailabilityFastBurn", "30m", (labels, annotations)),
            ],
        },
        {
            "name": "exactly at the limit is not above it",
            "interval": "1m",
            "input_series": series(ok="0+998x120", failed="0+2x120"),
            "alert_rule_test": [fires("RequestsAvailabilityFastBurn", "30m")],
        },
    )


def test_threshold_metric_counts_points(tmp_path: Path) -> None:
    """A quarter of the points is above the limit; NaN points are no data."""
    limited = slo(threshold("max(latency_ms)"), target="0.5", window="3d", objective={"op": "lte", "value": Fraction(500)})
    run(
        tmp_path,
        rules(catalog(limited)),
        {
            "interval": "1m",
            "input_series": [{"series": "latency_ms", "values": "NaN " + "100 500 500.5 200 " * 60}],
            "promql_expr_test": [
                equals("slo:sli_error:ratio_rate3d", Fraction(1, 4), "4h"),
                equals("slo:sli_error:ratio_rate1h", Fraction(1, 4), "4h"),
            ],
        },
        {
            "interval": "1m",
            "input_series": [{"series": "latency_ms", "values": "NaN " * 240}],
            "promql_expr_test": [nothing('{__name__=~"slo:sli_error:.*"}', "30m")],
            "alert_rule_test": [fires(NO_DATA, "30m"), fires(NO_DATA, "35m", no_data(LABELS | {"slo_objective": "0.5"}))],
        },
    )


@pytest.mark.parametrize(
    ("method", "missing", "expected"),
    [
        # 12 slices of 5 minutes: 6 without errors, 2 at the slice target, 2 below it (10 % errors), 2 without data.
        (BudgetingMethod.TIMESLICES, MissingSlices.IGNORE, Fraction(2, 10)),
        (BudgetingMethod.TIMESLICES, MissingSlices.BAD, Fraction(4, 12)),
        (BudgetingMethod.TIMESLICES, MissingSlices.GOOD, Fraction(2, 12)),
        (BudgetingMethod.RATIO_TIMESLICES, MissingSlices.IGNORE, Fraction(2 * 5 + 2 * 10, 10 * 100)),
        (BudgetingMethod.RATIO_TIMESLICES, MissingSlices.BAD, Fraction(2 * 5 + 2 * 10 + 2 * 100, 12 * 100)),
    ],
)
def test_time_slices_are_evaluated_separately(
    tmp_path: Path, method: BudgetingMethod, missing: MissingSlices, expected: Fraction
) -> None:
    sliced = slo(
        good_over_total(),
        target="0.9",
        window="7d",
        method=method,
        objective={"time_slice_window": parse_duration("5m"), "time_slice_target": Fraction(95, 100)},
        options=Options(missing_slices=missing),
    )
    ok, failed, bad_of_100 = [], [], [0, 0, 0, None, 5, 10, 0, 0, 10, None, 5, 0]
    good_count = bad_count = 0
    for bad in [*bad_of_100, 0]:
        for _ in range(10):
            ok.append("_" if bad is None else str(good_count))
            failed.append("_" if bad is None else str(bad_count))
            good_count += 0 if bad is None else 100 - bad
            bad_count += bad or 0
    run(
        tmp_path,
        rules(catalog(sliced)),
        {
            "interval": "30s",
            "input_series": series(ok=" ".join(ok), failed=" ".join(failed)),
            "promql_expr_test": [equals("slo:sli_error:ratio_rate1h", expected, "60m")],
        },
        every="30s",
    )
