"""A burn window that contradicts itself, as a trigger and the SLO page see it."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction

import pytest

from airflow_slo_provider.incidents.incident_state import BurnState
from airflow_slo_provider.ledger.records import Recorded
from airflow_slo_provider.plugins.slo_page.slo_summaries import SLOSummary
from airflow_slo_provider.runtime.error_budget.burn_watch import poll_result
from airflow_slo_provider.slo.budget.ledger_records import slo_checks
from airflow_slo_provider.slo.policy.decisions import decide
from airflow_slo_provider.slo.policy.error_budget_policy import ErrorBudgetPolicy
from tests.unit.slo.monitor_builders import HOUR, MINUTE, catalog
from tests.unit.slo.window_builders import FIVE, reported


@pytest.mark.parametrize(
    ("short", "long", "state"),
    [
        ((6, 4), (80, 100), BurnState.UNKNOWN),  # the hour burns at 20, and the five minutes are unknown
        ((80, 100), (6, 4), BurnState.UNKNOWN),
        ((6, 4), (90, 100), BurnState.BETWEEN),
        ((100, 100), (6, 4), BurnState.CALM),
        ((80, 100), (80, 100), BurnState.BURNING),
    ],
)
def test_trigger_is_not_calm_with_an_unknown_short_window(
    short: tuple[int, int], long: tuple[int, int], state: BurnState
) -> None:
    assert poll_result(reported({FIVE: short, HOUR: long}), severity="page", rearm=Fraction(1, 2)).state is state


def test_page_shows_which_rates_are_unknown() -> None:
    report = reported({FIVE: (6, 4), 30 * MINUTE: (7, 4)})
    (check,) = slo_checks(decide([report], catalog(report.slo, policies=[ErrorBudgetPolicy("p", ())])))
    page = SLOSummary(Recorded(check, None, 1, datetime.now(UTC)))  # type: ignore[arg-type]
    assert page.unknown_burn_rates == ["5m", "30m"]
    assert (page.status, page.burn_rates[0]) == ("WARNING", ("5m", None))
