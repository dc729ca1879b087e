"""Operator that profiles a dataset at training time and stores the profile as a reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.exceptions import NoData
from airflow_slo_provider.operators.drift.data_parameters import DriftDataFields

if TYPE_CHECKING:
    from airflow.sdk import Context


class DriftProfileOperator(DriftDataFields):
    """Profile a dataset and store the profile, typically at training time beside the model.

    The XCom and the extra of the outlets' events hold the profile's URI, hash and number of rows.

    .. code-block:: python

        DriftProfileOperator(
            task_id="profile", data="s3://training/*.parquet", profile_path="s3://models/churn/7/profile.json"
        )

    The parameters for the data and the engine (``columns``, ``engine``, ``name`` ...) are those of :class:`.DriftDataFields`
    (``airflow_slo_provider.operators.drift.data_parameters``).

    :param data: files (path, glob, directory, URI, list), or with ``engine="sql"`` or ``"spark"`` a table or SELECT. (templated)
    :param profile_path: path or URI of the profile, ending in ``.json``. (templated)
    :param where: filter of the rows: a list of (column, operator, value), or with ``engine="sql"`` a condition. (templated)
    :param min_rows: minimum number of rows; with fewer the task fails, because the profile could not serve as a reference
    :raises ValueError: when the DAG file is parsed, for a path that does not end in ``.json``
    """

    template_fields: Sequence[str] = (*DriftDataFields.template_fields, "data", "profile_path", "where")
    text_fields = DriftDataFields.text_fields | {"profile_path"}

    def __init__(self, *, data: Any, profile_path: str, where: Any = None, min_rows: int = 500, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if "{{" not in profile_path and not profile_path.endswith(".json"):
            raise ValueError(f"{self.task_id}: profile_path {profile_path!r} does not end in .json")
        self.data, self.profile_path, self.where, self.min_rows = data, profile_path, where, min_rows

    def execute(self, context: Context) -> dict[str, Any]:
        """Profile the data, check that the profile can serve as a reference, and store it.

        :param context: Airflow's task context
        :return: URI, hash, numbers of rows and columns, and source
        """
        from airflow_slo_provider.runtime.progress_log import log_progress

        with self._record_failures(context):
            window = self._required_interval(context) if self.time_column else None
            profile = self._call_on_engine(
                lambda spark: self._profile(
                    *self._rows_of(self.data, self.where, window, spark), progress=log_progress(self.log, "pieces read")
                ),
                context,
            )
            if profile.rows < self.min_rows:
                raise NoData(f"{profile.source}: {profile.rows} rows; a reference needs {self.min_rows}")
            for column in profile.columns.values():
                if column.problem:
                    self.log.warning("%s: %s", column.name, column.problem)
            uri = profile.save(self._file(self.profile_path))
        columns, source = len(profile.columns), profile.source
        found = {
            "schema_version": 1,
            "profile": uri,
            "hash": profile.hash,
            "rows": profile.rows,
            "columns": columns,
            "source": source,
        }
        self.log.info("%d rows, %d columns of %s profiled into %s", profile.rows, columns, source, uri)
        for outlet in self.outlets:
            context["outlet_events"][outlet].extra = dict(found)
        return found
