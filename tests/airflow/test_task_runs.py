"""The harness itself: what it says about a task is what Airflow did."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from airflow.sdk import BaseHook, BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from tests.airflow.task_runs import in_dag, resume, run_task


class FunctionOperator(BaseOperator):
    """Calls a function with itself and the context."""

    def __init__(self, *, function, **arguments) -> None:
        super().__init__(**arguments)
        self.doing = function

    def execute(self, context):
        return self.doing(self, context)

    def execute_later(self, context, event=None, seen=None):
        return [seen, event]


def fail(error: Exception):
    def function(operator, context):
        raise error

    return function


def test_run_task_returns_xcoms_log_and_connection():
    def function(operator, context):
        connection = BaseHook.get_connection("db")
        operator.log.info("asked %s", connection.host)
        context["ti"].xcom_push(key="seen", value=connection.extra_dejson)
        return 7

    ran = run_task(
        FunctionOperator(task_id="t", function=function),
        connections={"db": {"conn_type": "sqlite", "host": "x", "extra": {"a": 1}}},
    )
    assert (ran.state, ran.error) == ("success", None)
    assert ran.xcoms == {"seen": {"a": 1}, "return_value": 7}
    assert "asked x" in ran.log


@pytest.mark.parametrize(
    ("error", "retries", "try_number", "state"),
    [
        (RuntimeError("x"), 0, 1, "failed"),
        (RuntimeError("x"), 2, 1, "up_for_retry"),
        (RuntimeError("x"), 2, 2, "up_for_retry"),
        (RuntimeError("x"), 2, 3, "failed"),
        (AirflowFailException("x"), 2, 1, "failed"),
    ],
)
def test_run_task_reports_failures_and_retries(error, retries, try_number, state):
    ran = run_task(FunctionOperator(task_id="t", function=fail(error), retries=retries), try_number=try_number)
    assert (ran.state, ran.error) == (state, error)


def test_run_task_without_connection_fails():
    ran = run_task(FunctionOperator(task_id="t", function=lambda *_: BaseHook.get_connection("nowhere")))
    assert ran.state == "failed"
    assert "nowhere" in str(ran.error)


def test_run_task_in_backfill_has_interval():
    start = datetime(2026, 1, 1, tzinfo=UTC)

    def function(operator, context):
        return [context["dag_run"].run_type.value, context["data_interval_end"].isoformat()]

    ran = run_task(
        FunctionOperator(task_id="t", function=function), run_type="backfill", data_interval=(start, start + timedelta(days=1))
    )
    assert ran.xcoms["return_value"] == ["backfill", "2026-01-02T00:00:00+00:00"]


def test_run_task_reports_skips_and_deferrals():
    from airflow.providers.standard.triggers.temporal import DateTimeTrigger
    from airflow.sdk import SkipMixin

    class Skips(FunctionOperator, SkipMixin):
        pass

    ran = run_task(
        in_dag(
            Skips(task_id="t", function=lambda operator, context: operator.skip(context["ti"], operator.downstream_list)),
            ["a", "b"],
        )
    )
    assert (ran.state, ran.skipped) == ("success", {"a", "b"})

    moment = datetime(2026, 1, 1, tzinfo=UTC)

    def defer(operator, context):
        operator.defer(trigger=DateTimeTrigger(moment), method_name="execute_later", kwargs={"seen": 1}, timeout=timedelta(1))

    operator = FunctionOperator(task_id="t", function=defer)
    ran = run_task(operator)
    assert ran.state == "deferred"
    assert ran.deferral.trigger_timeout == timedelta(1)
    assert ran.deferral.classpath.endswith("DateTimeTrigger")
    assert resume(operator, ran.deferral, "now").xcoms["return_value"] == [1, "now"]
