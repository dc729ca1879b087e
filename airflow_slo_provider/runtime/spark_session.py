"""Run a function with a Spark session, created by the Spark provider's PySparkOperator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_slo_provider.core.redaction import server_text
from airflow_slo_provider.exceptions import QueryError, to_install

if TYPE_CHECKING:
    from airflow.sdk import Context

T = TypeVar("T")


def with_spark(
    work: Callable[[Any], T], context: Context, *, conn_id: str | None = None, config: Mapping[str, str] | None = None
) -> T:
    """Call a function with a Spark session, and stop the session afterwards.

    :param work: called with the ``pyspark.sql.SparkSession``
    :param context: Airflow's task context
    :param conn_id: Airflow connection of type ``spark_connect``, or of a Spark master; without it Spark runs in this process
    :param config: Spark settings for the session
    :return: the result of the function
    :raises QueryError: if the Spark provider is not installed, or Spark fails (``transient``)
    """
    try:
        from airflow.providers.apache.spark.operators.spark_pyspark import PySparkOperator
        from pyspark.errors import PySparkException
    except ImportError as error:
        raise QueryError(
            f"engine='spark' needs Airflow's Spark provider and pyspark ({error}): {to_install('spark')}", reason="not_installed"
        ) from error
    results: list[T] = []
    sessions = []

    def call(spark: Any) -> None:
        sessions.append(spark)
        results.append(work(spark))

    task = context["ti"]
    operator = PySparkOperator(
        task_id="spark_session",
        python_callable=call,
        conn_id=conn_id,
        config_kwargs={"spark.app.name": f"{task.dag_id}-{task.task_id}", **(config or {})},
        show_return_value_in_logs=False,
    )
    # Unwrapped, because Airflow warns if an operator is executed inside another one.
    execute = getattr(type(operator).execute, "__wrapped__", type(operator).execute)
    try:
        execute(operator, context)
    except Exception as error:
        if sessions and not isinstance(error, PySparkException):
            raise
        what = "Spark failed" if sessions else "no Spark session"
        raise QueryError(
            f"connection {conn_id}: {what}: {type(error).__name__}: {server_text(error)}", reason="spark_failed", transient=True
        ) from None
    return results[0]
