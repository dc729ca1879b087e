"""Count rows on Spark: each partition is profiled by the same code, and the driver merges the profiles.

Any split of the rows merges to the same profile, so Spark's counts equal those of a single process. Workers need this
package and pyarrow. In a DAG:

.. code-block:: python

    @task.pyspark(conn_id="spark")
    def compare(spark, sc):
        from airflow_slo_provider import drift

        return drift.compare("s3://models/7/profile.json", spark.read.parquet("s3a://features/day=2026-11-24")).to_json()

or ``DriftOperator(engine="spark", ...)``, or ``spark-submit spark_main.py`` (see
:mod:`~airflow_slo_provider.drift.engines.spark_main`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from airflow_slo_provider.core.text_lists import text_list
from airflow_slo_provider.drift.engines.sources import select_columns
from airflow_slo_provider.drift.profiles.dataset_profile import DatasetProfile
from airflow_slo_provider.drift.profiles.kernel import ColumnBuilder
from airflow_slo_provider.exceptions import InvalidMeasurement, QueryError


def profile_spark(
    data: Any, columns: Sequence[str] | None = None, *, categorical: Iterable[str] = (), name: str | None = None
) -> DatasetProfile:
    """Profile a Spark DataFrame in one pass over its partitions.

    :param data: ``pyspark.sql.DataFrame``
    :param columns: columns to profile; default: all
    :param categorical: numeric columns that hold codes
    :param name: name of the source in the profile
    :raises InvalidMeasurement: when a requested column does not exist
    :raises QueryError: when Spark rejects the query, or fails to run it (``transient``)
    """
    label = name or "the Spark DataFrame"
    names = select_columns(data.columns, columns, label)
    merged: DatasetProfile | None = None
    with _converted_errors(label):
        rows = data.select(*[_quote(column) for column in names])
        parts = rows.mapInArrow(_partition_counter(names, frozenset(text_list(categorical))), "part binary")
        for row in parts.toLocalIterator():
            part = _read_partition(bytes(row[0]))
            merged = part if merged is None else merged.merge(part)
    merged = merged or DatasetProfile(columns={column: ColumnBuilder(column).profile() for column in names}, rows=0)
    return DatasetProfile(columns=merged.columns, rows=merged.rows, engine="spark", source=name or "Spark DataFrame")


@dataclass(frozen=True)
class SparkRows:
    """A Spark DataFrame, and the name of its source in a profile.

    :param frame: ``pyspark.sql.DataFrame``
    :param name: e.g. the path it is read from
    """

    frame: Any
    name: str

    def names(self) -> list[str]:
        """Return the names of the columns."""
        return list(self.frame.columns)

    def profile(self, columns: Sequence[str] | None = None, *, categorical: Iterable[str] = ()) -> DatasetProfile:
        """Profile the rows; see :func:`profile_spark`."""
        return profile_spark(self.frame, columns, categorical=categorical, name=self.name)


def spark_rows(spark: Any, source: str, *, where: str = "", within: tuple[str, datetime, datetime] | None = None) -> SparkRows:
    """Return the rows of a path, a table or a SELECT in Spark.

    :param spark: ``pyspark.sql.SparkSession``
    :param source: a path or URI of Parquet files (with a slash in it), a SELECT, or a table's name
    :param where: condition in Spark SQL
    :param within: (column, start, end): select rows with start <= column < end
    :raises QueryError: when Spark rejects the query
    :raises InvalidMeasurement: when the column does not hold times
    """
    with _converted_errors(source):
        if source.lstrip().lower().startswith(("select", "with")) and len(source.split()) > 1:
            rows = spark.sql(source)
        else:
            rows = spark.read.parquet(source) if "/" in source else spark.table(source)
        if where:
            rows = rows.filter(where)
        # Reading the columns makes Spark Connect analyse the query now, inside _converted_errors, where errors are classified.
        select_columns(rows.columns, [within[0]] if within else None, source)
        if within is not None:
            for condition in _time_conditions(dict(rows.dtypes)[within[0]], *within):
                rows = rows.filter(condition)
        return SparkRows(rows, " ".join(source.split())[:200])


def _quote(column: str) -> str:
    return f"`{column.replace('`', '``')}`"


def _time_conditions(kind: str, column: str, start: datetime, end: datetime) -> list[str]:
    """Return conditions that do not depend on the session's time zone; naive timestamps are in UTC."""
    times = [start.astimezone(UTC), end.astimezone(UTC)]
    if kind == "date":
        if any(time.time() != datetime.min.time() for time in times):
            raise InvalidMeasurement(
                f"column {column} holds dates, but {start} to {end} are not whole days in UTC", reason="bad_interval"
            )
        texts = [f"DATE'{time:%Y-%m-%d}'" for time in times]
    elif kind in ("timestamp", "timestamp_ntz"):
        zone, name = ("+00:00", "TIMESTAMP_LTZ") if kind == "timestamp" else ("", "TIMESTAMP_NTZ")
        texts = [f"{name}'{time:%Y-%m-%d %H:%M:%S.%f}{zone}'" for time in times]
    else:
        raise InvalidMeasurement(f"column {column} has Spark's type {kind}: not a time; cast it", reason="no_time_column")
    return [f"{_quote(column)} >= {texts[0]}", f"{_quote(column)} < {texts[1]}"]


@contextmanager
def _converted_errors(source: str) -> Iterator[None]:
    """Convert Spark's errors to QueryError: permanent for a rejected query, transient for a failed run."""
    from pyspark.errors import AnalysisException, PySparkException

    try:
        yield
    except AnalysisException as error:
        raise QueryError(f"{source}: {_short_text(error)}", reason="bad_query") from None
    except OSError as error:
        raise QueryError(f"{source}: {_short_text(error)}", reason="unreachable", transient=True) from None
    except Exception as error:
        _, missing, module = str(error).partition("No module named")
        if missing and isinstance(error, PySparkException):
            text = f"{missing}{module}".splitlines()[0]
            needed = "workers need airflow-slo-provider, numpy and pyarrow"
            raise QueryError(f"{source}: {text} on a Spark worker: {needed}", reason="worker_lacks_module") from None
        # Errors of py4j and gRPC themselves: the driver is gone.
        if not isinstance(error, PySparkException) and type(error).__module__.partition(".")[0] not in ("py4j", "grpc"):
            raise
        raise QueryError(f"{source}: {_short_text(error)}", reason="spark_failed", transient=True) from None


def _short_text(error: Exception) -> str:
    """Return the text of an error without Spark's plans and stack."""
    text = " ".join(str(error).split(";\n")[0].split("JVM stacktrace")[0].split())
    return f"{type(error).__name__}: {text[:500]}"


def _read_partition(data: bytes) -> DatasetProfile:
    import zlib

    return DatasetProfile.from_json(zlib.decompress(data), where="a Spark partition's profile")


def _partition_counter(names: Sequence[str], categorical: frozenset[str]) -> Callable[[Iterator[Any]], Iterator[Any]]:
    """Return the function that runs on a worker: it turns record batches into one compressed profile."""

    def count(batches: Iterator[Any]) -> Iterator[Any]:
        import zlib

        import pyarrow as pa

        from airflow_slo_provider.drift.profiles.arrow_values import arrow_values

        builders = {column: ColumnBuilder(column) for column in names}
        rows = 0
        for batch in batches:
            rows += batch.num_rows
            for index, column in enumerate(names):
                builders[column].add(arrow_values(batch.column(index), categorical=column in categorical))
        part = DatasetProfile(columns={column: builder.profile() for column, builder in builders.items()}, rows=rows)
        yield pa.RecordBatch.from_pydict({"part": pa.array([zlib.compress(part.to_json(), 1)], type=pa.binary())})

    return count
