"""Parameters shared by the operators that read datasets to profile or compare them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_slo_provider.core.text_lists import text_list
from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.operators.text_template_fields import TextFields
from airflow_slo_provider.runtime.recording.checks import non_retryable_errors, record, record_unknown_on_error
from airflow_slo_provider.runtime.recording.observations import date_at_window_end, record_observations
from airflow_slo_provider.runtime.required_parameters import require

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_slo_provider.drift import DatasetProfile
    from airflow_slo_provider.results import CheckResult

ENGINES = ("local", "sql", "spark")
T = TypeVar("T")


class DriftDataFields(TextFields):
    """Base class of operators that read rows of a dataset.

    :param columns: names of the columns; all by default. (templated)
    :param categorical: numeric columns that hold codes and not quantities
    :param engine: ``local``: files, read by this task (``s3://conn_id@bucket/key`` names a connection); ``sql``: tables or
        SELECTs, aggregated in the database of ``sql_conn_id``; ``spark``: paths of Parquet files, tables or SELECTs, aggregated
        by Spark's workers, which need this package, numpy and pyarrow
    :param sql_conn_id: Airflow connection of the database. (templated)
    :param spark_conn_id: Airflow connection of type ``spark_connect``, or of a Spark master; without it Spark runs inside the
        task. (templated)
    :param spark_config: Spark settings for the session. (templated)
    :param time_column: column with the time of a row; if it is set, only rows of the data interval are profiled or compared
        with the reference. (templated)
    :param name: name of the check in the ledger; the task id by default. (templated)
    :param model_version: version of the model, for the ledger. (templated)
    :raises ValueError: when the DAG file is parsed, for an unknown engine or a connection that does not fit the engine
    """

    template_fields: Sequence[str] = (
        "columns", "sql_conn_id", "spark_conn_id", "spark_config", "time_column", "name", "model_version",
    )  # fmt: skip
    text_fields = frozenset({"sql_conn_id", "spark_conn_id", "time_column", "name", "model_version"})
    list_fields = frozenset({"columns"})
    mapping_fields = frozenset({"spark_config"})
    ui_color = "#e7dcf2"

    def __init__(
        self,
        *,
        columns: str | Sequence[str] | None = None,
        categorical: str | Sequence[str] = (),
        engine: str = "local",
        sql_conn_id: str | None = None,
        spark_conn_id: str | None = None,
        spark_config: Mapping[str, str] | None = None,
        time_column: str | None = None,
        name: str | None = None,
        model_version: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if engine not in ENGINES:
            raise ValueError(f"{self.task_id}: engine is {engine!r}; write one of {', '.join(ENGINES)}")
        if (engine == "sql") != (sql_conn_id is not None):
            raise ValueError(
                f"{self.task_id}: engine='sql' and sql_conn_id go together; engine is {engine!r}, sql_conn_id {sql_conn_id!r}"
            )
        if engine != "spark" and (spark_conn_id is not None or spark_config):
            raise ValueError(f"{self.task_id}: spark_conn_id and spark_config need engine='spark'; engine is {engine!r}")
        self.columns, self.categorical, self.time_column = columns, text_list(categorical), time_column
        self.engine, self.sql_conn_id = engine, sql_conn_id
        self.spark_conn_id, self.spark_config = spark_conn_id, dict(spark_config or {})
        self.name, self.model_version = name, model_version

    @property
    def check_name(self) -> str:
        """Return the name of the dataset's check in the ledger."""
        return self.name or self.task_id

    def _interval(self, context: Context) -> tuple[datetime | None, datetime | None]:
        # Airflow passes pendulum datetimes, whose differences are not plain timedeltas.
        ends = [context.get(name) for name in ("data_interval_start", "data_interval_end")]
        start, end = (None if timestamp is None else datetime.fromisoformat(timestamp.isoformat()) for timestamp in ends)
        return start, end

    def _required_interval(self, context: Context) -> tuple[datetime, datetime]:
        start, end = self._interval(context)
        if start is None or end is None or not start < end:
            raise QueryError(
                f"{self.task_id}: time_column {self.time_column!r} needs the run's data interval, "
                f"and this run has {start} to {end}; use a schedule with data intervals, or select rows with where",
                reason="no_interval",
            )
        return start, end

    def _file(self, path: Any) -> Any:
        from airflow_slo_provider.runtime.files.object_storage import is_local, object_path

        if isinstance(path, (list, tuple)):
            return [self._file(item) for item in path]
        return path if not isinstance(path, str) or is_local(path) else object_path(path)

    def _call_on_engine(self, function: Callable[[Any], T], context: Context) -> T:
        """Call a function with a Spark session if the engine is Spark, else with None."""
        if self.engine != "spark":
            return function(None)
        from airflow_slo_provider.runtime.spark_session import with_spark

        return with_spark(function, context, conn_id=self.spark_conn_id, config=self.spark_config)

    def _rows_of(self, source: Any, where: Any, window: tuple[datetime, datetime] | None, spark: Any) -> tuple[Any, Any]:
        """Return the rows to profile or compare, and the filter to read them with; a stored profile works with every engine.

        :param window: with ``time_column``: the start and end of the rows' times
        """
        within = (str(self.time_column), *window) if window else None
        if self.engine == "local" or (isinstance(source, str) and source.endswith(".json")):
            from airflow_slo_provider.drift.engines.time_windows import window_filter

            return self._file(source), window_filter(within[0], within[1:], where) if within else where
        if self.engine == "spark":
            from airflow_slo_provider.drift.engines.spark import spark_rows

            return spark_rows(spark, str(source), where=where or "", within=within), None
        from airflow_slo_provider.runtime.connections.sql import sql_data

        return sql_data(str(source), str(self.sql_conn_id), where=where or "", within=within), None

    def _profile(self, rows: Any, where: Any, *, like: DatasetProfile | None = None, progress: Any = None) -> DatasetProfile:
        """Profile rows; a database aggregates with the bin edges of ``like`` if it is set."""
        from airflow_slo_provider.drift import profile

        if self.engine == "sql" and like is not None:
            return rows.profile(self.columns, like=like, categorical=self.categorical)  # type: ignore[no-any-return]
        return profile(rows, self.columns, where=where, categorical=self.categorical, progress=progress)

    def _record(self, results: Sequence[CheckResult], context: Context) -> None:
        """Record checks: for rows of the run's data interval at its end, otherwise as one observation of the present."""
        start, end = self._interval(context) if self.time_column else (None, None)
        if start is not None and end is not None and start < end:
            record(date_at_window_end(results, start, end), context)  # type: ignore[arg-type]
            return
        sources = [getattr(self, name, None) for name in ("reference", "current", "where")]
        subject = " | ".join(
            str(item) if isinstance(item, str | list | tuple | dict) else type(item).__name__ for item in sources
        )
        record_observations(results, context, self.log, subject=subject)  # type: ignore[arg-type]

    @contextmanager
    def _record_failures(self, context: Context) -> Iterator[None]:
        """Record a check with verdict ``unknown`` before an error fails the task."""
        with non_retryable_errors(), record_unknown_on_error(context, lambda: self._unknown(context), write=self._record):
            require(self)
            yield

    def _unknown(self, context: Context) -> CheckResult:
        from airflow_slo_provider.results import CheckResult, Verdict

        start, end = self._interval(context)
        return CheckResult(
            kind="drift",
            name=self.check_name,
            verdict=Verdict.UNKNOWN,
            interval_start=start,
            interval_end=end,
            model_version=self.model_version,
        )
