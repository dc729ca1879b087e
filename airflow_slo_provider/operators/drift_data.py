"""The parameters of everything that reads datasets to profile or compare them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_slo_provider.hooks.outcomes import failing_rightly, record

if TYPE_CHECKING:
    from airflow.sdk import Context

ENGINES = ("local", "sql")


class DriftDataFields(BaseOperator):
    """An operator that reads rows.

    :param columns: which columns; all by default. (templated)
    :param categorical: columns of numbers that are codes
    :param engine: ``local``: files, read by this task; ``sql``: tables or SELECTs, counted in the database of ``sql_conn_id``
    :param sql_conn_id: Airflow connection of the database. (templated)
    :param sql_kinds: kind of columns whose type does not show it, e.g. ``{"created_at": "time"}`` in SQLite
    :param conn_id: Airflow connection of the object store that paths and reports are in. (templated)
    :param time_column: column that says when a row is from. (templated)
    :param name: of the check in the ledger; the task's id by default. (templated)
    :param model_version: version of the model, for the record. (templated)
    """

    template_fields: Sequence[str] = ("columns", "sql_conn_id", "conn_id", "time_column", "name", "model_version")
    ui_color = "#e7dcf2"

    def __init__(
        self,
        *,
        columns: Sequence[str] | None = None,
        categorical: Sequence[str] = (),
        engine: str = "local",
        sql_conn_id: str | None = None,
        sql_kinds: Mapping[str, str] | None = None,
        conn_id: str | None = None,
        time_column: str | None = None,
        name: str | None = None,
        model_version: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if engine not in ENGINES:
            raise ValueError(
                f"{self.task_id}: engine is {engine!r}; there are {', '.join(ENGINES)} (Spark: see drift.engines.spark)"
            )
        if (engine == "sql") != (sql_conn_id is not None):
            raise ValueError(
                f"{self.task_id}: engine='sql' and sql_conn_id go together; engine is {engine!r}, sql_conn_id {sql_conn_id!r}"
            )
        self.columns = columns
        self.categorical = tuple(categorical)
        self.engine = engine
        self.sql_conn_id = sql_conn_id
        self.sql_kinds = dict(sql_kinds or {})
        self.conn_id = conn_id
        self.time_column = time_column
        self.name, self.model_version = name, model_version

    @property
    def check_name(self) -> str:
        """Name of the dataset's check."""
        return self.name or self.task_id

    def _interval(self, context: Context) -> tuple[datetime | None, datetime | None]:
        # Airflow hands over pendulum's datetimes, whose differences are no timedeltas.
        moments = [context.get(name) for name in ("data_interval_start", "data_interval_end")]
        start, end = (None if moment is None else datetime.fromisoformat(moment.isoformat()) for moment in moments)
        return start, end

    def _required_interval(self, context: Context) -> tuple[datetime, datetime]:
        start, end = self._interval(context)
        if start is None or end is None or not start < end:
            from airflow_slo_provider.exceptions import QueryError

            raise QueryError(
                f"{self.task_id}: time_column {self.time_column!r} needs the run's data interval, "
                f"and this run has {start} to {end}; give it a schedule with one, or choose rows with where",
                reason="no_interval",
            )
        return start, end

    def _path(self, path: Any) -> Any:
        from airflow_slo_provider.hooks.drift_data import object_path

        if isinstance(path, (list, tuple)):
            return [object_path(one, self.conn_id) for one in path]
        return object_path(path, self.conn_id) if isinstance(path, str) else path

    def _table(self, source: Any, where: str, window: tuple[datetime, datetime] | None = None) -> Any:
        """Return rows in the database; a stored profile is one whatever the engine."""
        if isinstance(source, str) and source.endswith(".json"):
            return self._path(source)
        from airflow_slo_provider.hooks.drift_data import sql_data

        within = (self.time_column, *window) if window and self.time_column else None
        return sql_data(str(source), str(self.sql_conn_id), where=where, within=within, kinds=self.sql_kinds)

    def _progress(self) -> Any:
        """Return what logs progress at each tenth."""
        told = [0]

        def progress(done: int, total: int) -> None:
            tenth = done * 10 // max(1, total)
            if tenth > told[0]:
                told[0] = tenth
                self.log.info("%d%% read", tenth * 10)

        return progress

    @contextmanager
    def _judging(self, context: Context) -> Iterator[None]:
        """Record that nothing could be found out, before a fault fails the task."""
        from airflow_slo_provider.exceptions import SLOProviderError
        from airflow_slo_provider.results import CheckResult, Verdict

        with failing_rightly():
            try:
                yield
            except SLOProviderError as error:
                start, end = self._interval(context)
                fault = CheckResult(
                    kind="drift",
                    name=self.check_name,
                    verdict=Verdict.UNKNOWN,
                    message=str(error)[:2000],
                    interval_start=start,
                    interval_end=end,
                    model_version=self.model_version,
                    evidence={"reason": getattr(error, "reason", "error")},
                )
                record([fault], context)
                raise
