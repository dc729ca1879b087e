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
from airflow_slo_provider.drift.engines.sources import chosen
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
    names = chosen(data.columns, columns, name or "the Spark DataFrame")
    made: DatasetProfile | None = None
    with _refusals(name or "the Spark DataFrame"):
        rows = data.select(*[_quoted(column) for column in names])
        parts = rows.mapInArrow(_counter(names, frozenset(text_list(categorical))), "part binary")
        for row in parts.toLocalIterator():
            part = _read(bytes(row[0]))
            made = part if made is None else made.merge(part)
    made = made or DatasetProfile(columns={column: ColumnBuilder(column).profile() for column in names}, rows=0)
    return DatasetProfile(columns=made.columns, rows=made.rows, engine="spark", source=name or "Spark DataFrame")


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
    with _refusals(source):
        if source.lstrip().lower().startswith(("select", "with")) and len(source.split()) > 1:
            rows = spark.sql(source)
        else:
            rows = spark.read.parquet(source) if "/" in source else spark.table(source)
        if where:
            rows = rows.filter(where)
        # Reading the columns makes Spark Connect analyse the query now, inside _refusals, where errors are classified.
        chosen(rows.columns, [within[0]] if within else None, source)
        if within is not None:
            for condition in _between(dict(rows.dtypes)[within[0]], *within):
                rows = rows.filter(condition)
        return SparkRows(rows, " ".join(source.split())[:200])


def _quoted(column: str) -> str:
    return f"`{column.replace('`', '``')}`"


def _between(kind: str, column: str, start: datetime, end: datetime) -> list[str]:
    """Return conditions that do not depend on the session's time zone; naive timestamps are in UTC."""
    moments = [moment.astimezone(UTC) for moment in (start, end)]
    if kind == "date":
        if any(moment.time() != datetime.min.time() for moment in moments):
            raise InvalidMeasurement(
                f"column {column} holds dates, and {start} to {end} is not made of whole days of UTC", reason="bad_interval"
            )
        texts = [f"DATE'{moment:%Y-%m-%d}'" for moment in moments]
    elif kind in ("timestamp", "timestamp_ntz"):
        zone, name = ("+00:00", "TIMESTAMP_LTZ") if kind == "timestamp" else ("", "TIMESTAMP_NTZ")
        texts = [f"{name}'{moment:%Y-%m-%d %H:%M:%S.%f}{zone}'" for moment in moments]
    else:
        raise InvalidMeasurement(
            f"column {column} is of Spark's type {kind}: no time; make it one in a SELECT", reason="no_time_column"
        )
    return [f"{_quoted(column)} >= {texts[0]}", f"{_quoted(column)} < {texts[1]}"]


@contextmanager
def _refusals(source: str) -> Iterator[None]:
    """Convert Spark's errors to QueryError: permanent for a rejected query, transient for a failed run."""
    from pyspark.errors import AnalysisException, PySparkException

    try:
        yield
    except AnalysisException as error:
        raise QueryError(f"{source}: {_first(error)}", reason="bad_query") from None
    except PySparkException as error:
        text = str(error)
        if "No module named" in text:
            lacking = text[text.index("No module named") :].splitlines()[0]
            raise QueryError(
                f"{source}: {lacking} on a Spark worker: workers need airflow-slo-provider, numpy and pyarrow",
                reason="worker_lacks_module",
            ) from None
        raise QueryError(f"{source}: {_first(error)}", reason="spark_failed", transient=True) from None
    except OSError as error:
        raise QueryError(f"{source}: {_first(error)}", reason="unreachable", transient=True) from None
    except Exception as error:
        # Errors of py4j and gRPC themselves: the driver is gone.
        if type(error).__module__.partition(".")[0] not in ("py4j", "grpc"):
            raise
        raise QueryError(f"{source}: {_first(error)}", reason="spark_failed", transient=True) from None


def _first(error: Exception) -> str:
    """Return the text of an error without Spark's plans and stack."""
    text = " ".join(str(error).split(";\n")[0].split("JVM stacktrace")[0].split())
    return f"{type(error).__name__}: {text[:500]}"


def _read(data: bytes) -> DatasetProfile:
    import zlib

    return DatasetProfile.from_json(zlib.decompress(data), where="a Spark partition's profile")


def _counter(names: Sequence[str], categorical: frozenset[str]) -> Callable[[Iterator[Any]], Iterator[Any]]:
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
        part = DatasetProfile(
            columns={column: builder.profile() for column, builder in builders.items()}, rows=rows, engine="spark"
        )
        yield pa.RecordBatch.from_pydict({"part": pa.array([zlib.compress(part.to_json(), 1)], type=pa.binary())})

    return count
