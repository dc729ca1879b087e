"""Count rows in this process, with threads, in memory that does not grow with the data."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import replace
from itertools import count
from typing import Any

from airflow_slo_provider.core.text_lists import text_list
from airflow_slo_provider.drift.engines.source_choice import open_source
from airflow_slo_provider.drift.engines.sources import Consume, Filter, Source, Task, select_columns
from airflow_slo_provider.drift.profiles.dataset_profile import DatasetProfile, load_if_profile
from airflow_slo_provider.drift.profiles.kernel import ColumnBuilder, Values

#: Called with (pieces done, pieces in total).
Progress = Callable[[int, int], None]


def profile(
    data: Any,
    columns: Sequence[str] | None = None,
    *,
    where: Filter | None = None,
    categorical: Iterable[str] = (),
    progress: Progress | None = None,
) -> DatasetProfile:
    """Profile a dataset in one pass.

    :param data: a path, glob, directory, URI or list of them (Parquet, CSV, Arrow, JSON, ORC), a DataFrame, an Arrow table,
        arrays; or a profile, which is returned with the selected columns; or
        :class:`~airflow_slo_provider.drift.engines.sql.SQLData`
    :param columns: columns to profile; default: all
    :param where: (column, operator, value) conditions that rows must satisfy, e.g. ``[("day", "=", "2026-11-24")]``
    :param categorical: numeric columns that hold codes, to be counted value by value
    :param progress: called with (pieces done, pieces in total)
    :raises QueryError: when the data cannot be read
    :raises InvalidMeasurement: when a requested column does not exist
    """
    data = load_if_profile(data) or data
    in_spark = type(data).__module__.startswith("pyspark.")
    if where and (isinstance(data, DatasetProfile) or is_remote(data) or in_spark):
        raise ValueError("a filter needs rows that this process reads; filter in the database or in Spark, or before profiling")
    if isinstance(data, DatasetProfile):
        names = select_columns(data.columns, columns, data.source or "the profile")
        return replace(data, columns={column: data.columns[column] for column in names})
    if is_remote(data):
        return data.profile(columns, categorical=categorical)  # type: ignore[no-any-return]
    if in_spark:
        from airflow_slo_provider.drift.engines.spark import profile_spark

        return profile_spark(data, columns, categorical=categorical)
    source = open_source(data, where=where)
    return profile_source(source, columns, categorical=frozenset(text_list(categorical)), progress=progress)


def is_remote(data: Any) -> bool:
    """Return whether a database or Spark counts the rows, checked without importing these engines."""
    return type(data).__name__ in ("SQLData", "SparkRows")


def profile_source(
    source: Source,
    columns: Sequence[str] | None = None,
    *,
    categorical: frozenset[str] = frozenset(),
    progress: Progress | None = None,
) -> DatasetProfile:
    """Profile the rows of a source."""
    types = source.columns()
    builders = {column: ColumnBuilder(column) for column in select_columns(types, columns, source.name)}
    problems = source.problems() if hasattr(source, "problems") else {}
    for column in builders.keys() & problems.keys():
        builders[column].fail(problems[column])

    def consume(column: str, values: Values) -> None:
        builders[column].add(values)

    readable = [column for column in builders if column not in problems]
    run_tasks(source.tasks(readable, categorical), consume, progress=progress)
    profiles = {column: builder.profile() for column, builder in builders.items()}
    for name, made in profiles.items():
        if not made.dtype:
            profiles[name] = replace(made, dtype=types[name])
    return DatasetProfile(columns=profiles, rows=max((made.rows for made in profiles.values()), default=0), source=source.name)


def run_tasks(tasks: Iterable[Task], consume: Consume, *, threads: int | None = None, progress: Progress | None = None) -> None:
    """Run tasks on threads; the first error stops the other tasks."""
    work = list(tasks)
    workers = threads or min(8, os.cpu_count() or 1)
    finished = count(1)

    def report(_: object = None) -> None:
        done = next(finished)
        if progress is not None:
            progress(done, len(work))

    if workers == 1 or len(work) < 2:
        for task in work:
            task.run(consume)
            report()
        return
    with ThreadPoolExecutor(workers, thread_name_prefix="drift") as pool:
        futures = [pool.submit(task.run, consume) for task in work]
        for future in futures:
            future.add_done_callback(report)
        try:
            settled, _ = wait(futures, return_when=FIRST_EXCEPTION)
        finally:  # Also when Airflow's timeout ends the task here: otherwise the pool would finish its whole queue first.
            for future in futures:
                future.cancel()
        for future in settled:
            future.result()
