"""A history of freshness checks as an error budget, by the documents of demo/slos_freshness."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest

from airflow_slo_provider import slo
from airflow_slo_provider.freshness import Limits, Observation, assess
from airflow_slo_provider.indicators.ledger import LedgerSource
from airflow_slo_provider.ledger import RunKey, open_ledger
from tests.support import REPO

END = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
HOURS = 28 * 24
SLOS = {"model-fresh": ("model", 24 * HOUR), "features-fresh": ("features", HOUR), "pipeline-fresh": ("pipeline", 4 * HOUR)}


@pytest.fixture
def catalog():
    return slo.load(REPO / "demo" / "slos_freshness")


def report(tmp_path, catalog, name, ages):
    """Record one check in each of the last hours, oldest first (None: no check; "?": unknown), and evaluate."""
    check, max_age = SLOS[name]
    with open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        for number, age in enumerate(ages):
            if age is None:
                continue
            at = END - (len(ages) - number) * HOUR + timedelta(minutes=7)
            seen = None if age == "?" else at - age
            result = assess(Observation(what="x", source="s", observed_at=seen), at, Limits(max_age)).result(
                f"tumour-classifier/{check}"
            )
            ledger.record([result], RunKey("checks", f"run-{number}", "check"))
        (found,) = slo.SLOMonitor(catalog, LedgerSource(ledger)).evaluate(at=END, select=name)
    return found


def test_example_documents_have_three_targets(catalog):
    assert {one.name: timedelta(seconds=float(one.objectives[0].value)) for one in catalog.slos} == {
        name: max_age for name, (_, max_age) in SLOS.items()
    }
    assert not catalog.warnings


@pytest.mark.parametrize("name", SLOS)
def test_stale_hour_spends_its_share_of_the_budget(tmp_path, catalog, name):
    max_age = SLOS[name][1]
    ages = [max_age] * HOURS
    for number in (5, 100, 300):
        ages[number] = max_age + timedelta(microseconds=1)
    found = report(tmp_path, catalog, name, ages)
    assert (found.good, found.total) == (HOURS - 3, HOURS)
    # 1 % of 672 hours are 6.72 hours, of which three are spent.
    assert found.remaining == 1 - Fraction(3) / (Fraction(1, 100) * HOURS)


def test_unknown_missing_and_skewed_checks_count_as_bad(tmp_path, catalog):
    ages = [HOUR / 2] * HOURS
    ages[10], ages[20], ages[30] = "?", None, -2 * HOUR
    found = report(tmp_path, catalog, "features-fresh", ages)
    assert (found.good, found.total) == (HOURS - 3, HOURS)


def test_freshness_slo_without_checks_is_unknown(tmp_path, catalog):
    found = report(tmp_path, catalog, "model-fresh", [])
    assert found.status == "NO_DATA"
    assert found.budget is None
