"""Deadlines of runs, made of freshness SLOs."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from fractions import Fraction

import pytest
from airflow.sdk import DAG, AsyncCallback, DeadlineReference, SyncCallback

from airflow_slo_provider.deadlines import freshness_deadline, log_missed_deadline, max_age_of
from airflow_slo_provider.documents.durations import parse_duration
from airflow_slo_provider.slo.model import SLO, BudgetingMethod, Indicator, MetricSource, Objective, ThresholdMetric, TimeWindow


def freshness_slo(*objectives: tuple[str | None, int | None]) -> SLO:
    metric = ThresholdMetric(MetricSource(type="Ledger", ref=None, query="dag:orders", spec={}))
    return SLO(
        name="orders-fresh",
        service="orders",
        indicator=Indicator("age", metric),
        window=TimeWindow(parse_duration("28d")),
        method=BudgetingMethod.OCCURRENCES,
        objectives=tuple(
            Objective(target=Fraction(99, 100), op=op, value=None if value is None else Fraction(value))
            for op, value in objectives
        ),
    )


def test_deadline_reference_is_queued_at():
    alert = freshness_deadline(freshness_slo(("lte", 14400)))
    assert alert.reference == DeadlineReference.DAGRUN_QUEUED_AT
    assert alert.interval == timedelta(hours=4)
    assert alert.name == "orders-fresh"
    assert isinstance(alert.callback, AsyncCallback)
    assert alert.callback.path == "airflow_slo_provider.deadlines.log_missed_deadline"
    assert alert.callback.kwargs == {"slo": "orders-fresh", "max_age_seconds": 14400.0}


async def async_callback(context): ...


def sync_callback(context): ...


@pytest.mark.parametrize("callback", [AsyncCallback(async_callback), SyncCallback(sync_callback)])
def test_callback_parameter_is_used(callback):
    alert = freshness_deadline(timedelta(hours=1), callback=callback, name="x")
    assert alert.callback == callback
    assert (alert.name, alert.interval) == ("x", timedelta(hours=1))


def test_dag_with_deadline_serializes():
    from airflow.serialization.serialized_objects import DagSerialization

    dag = DAG("orders", schedule=None, deadline=freshness_deadline(freshness_slo(("lte", 60))))
    data = DagSerialization.to_dict(dag)
    assert "log_missed_deadline" in str(data)
    assert "DagRunQueuedAtDeadline" in str(data)


@pytest.mark.parametrize("objectives", [(("gte", 60),), ((None, None),), (("lte", 60), ("lte", 90)), (("lte", None),)])
def test_slo_without_age_is_rejected(objectives):
    with pytest.raises(ValueError, match="orders-fresh"):
        max_age_of(freshness_slo(*objectives))


@pytest.mark.parametrize("interval", [timedelta(0), -timedelta(hours=1)])
def test_deadline_not_positive_is_rejected(interval):
    with pytest.raises(ValueError, match="missed by every run"):
        freshness_deadline(interval)


@pytest.mark.parametrize("digits", [15, 300, 400])
def test_age_too_long_is_rejected(digits):
    with pytest.raises(ValueError, match="orders-fresh allows an age that is too long"):
        freshness_deadline(freshness_slo(("lte", 10**digits)))


@pytest.mark.parametrize("interval", [timedelta.max, timedelta(days=4_000_000)])
def test_deadline_after_year_9999_is_rejected(interval):
    with pytest.raises(ValueError, match="after the year 9999"):
        freshness_deadline(interval)


def test_default_callback_logs_run(caplog):
    context = {"dag_run": {"dag_id": "orders", "dag_run_id": "manual__1"}, "deadline": {"deadline_time": "2026-11-24T12:00:00Z"}}
    asyncio.run(log_missed_deadline(context=context, slo="orders-fresh", max_age_seconds=60))
    assert "run manual__1 of DAG orders has not ended within 60 s" in caplog.text
