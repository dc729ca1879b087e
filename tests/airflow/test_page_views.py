"""What the pages make of a ledger, before it is HTML."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_slo_provider.drift.report.ledger_records import MOST_WORST, checks
from airflow_slo_provider.drift.verdict.results import ColumnDrift, DriftReport
from airflow_slo_provider.drift.verdict.thresholds import DriftState
from airflow_slo_provider.ledger import Ledger, RunKey, open_ledger
from airflow_slo_provider.plugins.slo_page.access import ReadableDags
from airflow_slo_provider.plugins.slo_page.heat_maps import HEAT_DAYS, read_heat_maps
from airflow_slo_provider.plugins.slo_page.responses import render
from airflow_slo_provider.plugins.slo_page.slo_details import read_slo
from airflow_slo_provider.plugins.slo_page.slo_summaries import overview_values, read_overview
from airflow_slo_provider.results import CheckResult
from tests.airflow.page_data import slo_check

NOW = datetime(2025, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)
EVERYTHING = ReadableDags(frozenset({"d"}), complete=True)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as opened:
        yield opened


class TestHeatMap:
    def drifted(self, ledger: Ledger, states: dict[str, DriftState], *, days: int, drop: Any = ()) -> None:
        """Record a comparison as it was some days ago.

        :param drop: names of checks, or keys of evidence, that are not recorded
        """
        columns = {name: ColumnDrift(name=name, verdict=state) for name, state in states.items()}
        report = DriftReport(verdict=DriftState.DRIFT, message="", columns=columns, created_at=NOW - days * DAY)
        actions = {state: {"drift": "fail", "warn": "warn", "ok": "pass"}.get(state.value, "skip") for state in DriftState}
        rows = [
            replace(one, evidence={key: value for key, value in one.evidence.items() if key not in drop})
            for one in checks(report, name="features", actions=actions)
            if one.name not in drop
        ]
        ledger.record(rows, RunKey("d", f"{days} days ago", "t"))

    def cells(self, ledger: Ledger) -> dict[str, list[str]]:
        """The last two days of each feature."""
        (found,) = read_heat_maps(ledger, EVERYTHING, NOW)
        assert {len(cells) for _, cells in found.rows} == {HEAT_DAYS}
        return {feature: [cell.verdict for cell in cells[-2:]] for feature, cells in found.rows}

    def test_features_beyond_the_summary_are_read_from_their_own_checks(self, ledger: Ledger) -> None:
        many = list("abcdefgh")
        assert len(many) > MOST_WORST
        self.drifted(ledger, dict.fromkeys(many, DriftState.DRIFT), days=1)
        self.drifted(ledger, {name: DriftState.DRIFT if name == "h" else DriftState.OK for name in many}, days=0)
        assert self.cells(ledger) == {name: ["fail", "fail" if name == "h" else "pass"] for name in many}

    def test_feature_neither_listed_nor_recorded_has_an_empty_cell(self, ledger: Ledger) -> None:
        many = list("abcdefgh")
        self.drifted(ledger, dict.fromkeys(many, DriftState.DRIFT), days=1, drop=[f"features.{name}" for name in many])
        self.drifted(ledger, dict.fromkeys(many, DriftState.DRIFT), days=0)
        assert [list(found) for found in zip(*self.cells(ledger).values(), strict=True)] == [
            ["fail"] * MOST_WORST + [""] * 3,
            ["fail"] * 8,
        ]

    @pytest.mark.parametrize(("drop", "other"), [((), "pass"), (("skipped",), "")], ids=["now", "before they were named"])
    def test_skipped_feature_has_no_passing_cell(self, ledger: Ledger, drop: Any, other: str) -> None:
        self.drifted(ledger, {"a": DriftState.SKIPPED, "b": DriftState.OK, "c": DriftState.INSUFFICIENT_DATA}, days=1, drop=drop)
        self.drifted(ledger, {"a": DriftState.DRIFT, "b": DriftState.SCHEMA_CHANGE, "c": DriftState.OK}, days=0)
        assert self.cells(ledger) == {"a": ["", "fail"], "b": [other, "fail"], "c": ["unknown", "pass"]}

    def test_custom_check_without_counts_leaves_other_features_empty(self, ledger: Ledger) -> None:
        for days, name in ((1, "a"), (0, "b")):
            found = {"worst": [{"column": name, "state": "drift"}]}
            check = CheckResult(kind="drift", name="own", verdict="fail", checked_at=NOW - days * DAY, evidence=found)
            ledger.record([check], RunKey("d", str(days), "t"))
        assert self.cells(ledger) == {"a": ["fail", ""], "b": ["", "fail"]}


class TestAge:
    def record(self, ledger: Ledger, age: timedelta, status: str = "HEALTHY", verdict: str = "pass", **more: Any) -> None:
        check = slo_check("a", status, verdict, 0.9, 0.9999, NOW - age, **{"window": "7d", **more})
        ledger.record([check], RunKey("d", "r", "t"))

    @pytest.mark.parametrize(
        ("age", "status", "shown"),
        [
            (8 * DAY, "HEALTHY", "HEALTHY"),
            (8 * DAY + timedelta(minutes=1), "HEALTHY", "unknown"),
            (90 * DAY, "WARNING", "unknown"),
            (90 * DAY, "EXHAUSTED", "EXHAUSTED"),
            (90 * DAY, "BURNING", "BURNING"),
            (90 * DAY, "NO_DATA", "NO_DATA"),
        ],
    )
    def test_check_older_than_its_window_is_unknown_unless_worse(
        self, ledger: Ledger, age: timedelta, status: str, shown: str
    ) -> None:
        self.record(ledger, age, status)
        found = read_overview(ledger, EVERYTHING, {}, now=NOW)
        assert found.counts == {shown: 1}
        view = read_slo(ledger, EVERYTHING, "a", now=NOW)
        assert view is not None
        assert view.slo.status == shown
        said = "The newest check is older than the SLO's window" in render("slo.html", view=view)
        assert said == (age > 8 * DAY)

    def test_stale_slo_ranks_before_healthy_ones_with_its_last_known_value(self, ledger: Ledger) -> None:
        self.record(ledger, 90 * DAY)
        for name, status, verdict in (("b", "WARNING", "warn"), ("c", "EXHAUSTED", "fail"), ("d", "HEALTHY", "pass")):
            ledger.record([slo_check(name, status, verdict, 0.5, 0.9995, NOW)], RunKey("d", "r", "t"))
        found = read_overview(ledger, EVERYTHING, {}, now=NOW)
        assert [(one.name, one.status) for one in found.slos] == [
            ("c", "EXHAUSTED"),
            ("a", "unknown"),
            ("b", "WARNING"),
            ("d", "HEALTHY"),
        ]
        values = overview_values(found)
        assert values["statuses"] == ["EXHAUSTED", "unknown", "WARNING", "HEALTHY"]
        assert "last known 99.99" in render("overview.html", **values)
        assert found.slos[1].exhausted_in is None

    @pytest.mark.parametrize(
        ("window", "slice_", "rule", "note"),
        [
            ("1d", "", "page when 5m and 1h are above 1.0", "no ticket alert over 3d: it is not shorter than the window 1d"),
            ("1M", "", "page when 5m and 1h are above 14.4", ""),
            ("7d", "10m", "page when 30m and 6h are above 1.4", "the short window is shorter than a time slice (10m)"),
        ],
    )
    def test_alert_rules_are_those_of_the_gate(self, ledger: Ledger, window: str, slice_: str, rule: str, note: str) -> None:
        rates = {"5m": 0.3, "30m": 0.3, "1h": 0.3, "6h": 0.3}
        check = slo_check("a", "HEALTHY", "pass", 0.7, 0.9997, NOW, window=window, time_slice=slice_, burn_rates=rates)
        ledger.record([check], RunKey("d", "r", "t"))
        text = render("slo.html", view=read_slo(ledger, EVERYTHING, "a", now=NOW))
        assert rule in text
        assert note in text
        assert ("page when 5m and 1h" in text) is (slice_ == "")

    @pytest.mark.parametrize(("value", "shown"), [(None, "returned no value"), (0.97, "is unknown")])
    def test_unknown_slo_tells_whether_a_value_was_returned(self, ledger: Ledger, value: float | None, shown: str) -> None:
        ledger.record([slo_check("a", "NO_DATA", "unknown", None, value, NOW)], RunKey("d", "r", "t"))
        view = read_slo(ledger, EVERYTHING, "a", now=NOW)
        assert view is not None
        text = render("slo.html", view=view)
        assert shown in text and "No earlier value is known." in text
        assert ("returned no value" in text) is (value is None)

    @pytest.mark.parametrize("window", ["1h", "1d"])
    def test_check_of_a_late_daily_dag_is_not_stale(self, ledger: Ledger, window: str) -> None:
        self.record(ledger, timedelta(hours=24, minutes=50), window=window)
        assert read_overview(ledger, EVERYTHING, {}, now=NOW).counts == {"HEALTHY": 1}
