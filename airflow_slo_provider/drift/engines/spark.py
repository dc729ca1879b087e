"""Counting on Spark: the same kernel in each partition, the parts merged on the driver.

Any cut of the rows merges to the same profile, so what Spark counts is what one process would have counted. Workers need this
package and pyarrow. In a DAG:

.. code-block:: python

    @task.pyspark(conn_id="spark")
    def compare(spark, sc):
        from airflow_slo_provider import drift

        return drift.compare("s3://models/7/profile.json", spark.read.parquet("s3a://features/day=2026-11-24")).to_json()

or ``spark-submit spark_main.py`` (see :mod:`~airflow_slo_provider.drift.engines.spark_main`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from airflow_slo_provider.drift.engines.sources import chosen
from airflow_slo_provider.drift.kernel import ColumnBuilder
from airflow_slo_provider.drift.profiles import DatasetProfile


def is_spark(data: Any) -> bool:
    """Whether ``data`` is a Spark DataFrame, classic or Connect."""
    return type(data).__module__.partition(".")[0] == "pyspark" and hasattr(data, "mapInArrow")


def profile_spark(
    data: Any, columns: Sequence[str] | None = None, *, categorical: Iterable[str] = (), name: str | None = None
) -> DatasetProfile:
    """Profile a Spark DataFrame in one pass over its partitions.

    :param data: ``pyspark.sql.DataFrame``
    :param columns: which columns; all without it
    :param categorical: columns of numbers that are codes
    :raises InvalidMeasurement: when a column asked for is not there
    """
    names = chosen(data.columns, columns, name or "the Spark DataFrame")
    rows = data.select(*[f"`{column.replace('`', '``')}`" for column in names])
    parts = rows.mapInArrow(_counter(names, frozenset(categorical)), "part binary")
    made: DatasetProfile | None = None
    for row in parts.toLocalIterator():
        part = _read(bytes(row[0]))
        made = part if made is None else made.merge(part)
    made = made or DatasetProfile(columns={column: ColumnBuilder(column).profile() for column in names}, rows=0)
    return DatasetProfile(columns=made.columns, rows=made.rows, engine="spark", source=name or "Spark DataFrame")


def _read(data: bytes) -> DatasetProfile:
    import zlib

    from airflow_slo_provider.drift.profile_json import profile_from_json

    return profile_from_json(zlib.decompress(data), where="a Spark partition's profile")


def _counter(names: Sequence[str], categorical: frozenset[str]) -> Callable[[Iterator[Any]], Iterator[Any]]:
    """Return what runs on a worker: record batches in, one packed profile out."""

    def count(batches: Iterator[Any]) -> Iterator[Any]:
        import zlib

        import pyarrow as pa

        from airflow_slo_provider.drift.arrow_values import arrow_values
        from airflow_slo_provider.drift.profile_json import profile_to_json

        builders = {column: ColumnBuilder(column) for column in names}
        rows = 0
        for batch in batches:
            rows += batch.num_rows
            for index, column in enumerate(names):
                builders[column].add(arrow_values(batch.column(index), categorical=column in categorical))
        part = DatasetProfile(
            columns={column: builder.profile() for column, builder in builders.items()}, rows=rows, engine="spark"
        )
        yield pa.RecordBatch.from_pydict({"part": pa.array([zlib.compress(profile_to_json(part), 1)], type=pa.binary())})

    return count
