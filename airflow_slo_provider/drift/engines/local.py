"""Count rows in this process, with threads, in memory that does not grow with the data."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import Any

from airflow_slo_provider.core.text_lists import text_list
from airflow_slo_provider.drift.engines.source_choice import open_source
from airflow_slo_provider.drift.engines.sources import Filter, Source, Task, chosen
from airflow_slo_provider.drift.profiles.dataset_profile import DatasetProfile, stored_profile
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
    data = stored_profile(data) or data
    if where and (isinstance(data, DatasetProfile) or type(data).__name__ in ("SQLData", "SparkRows")):
        raise ValueError("a filter needs rows that this process reads; filter in the database or in Spark, or before profiling")
    if isinstance(data, DatasetProfile):
        if columns is None:
            return data
        from dataclasses import replace

        return replace(
            data, columns={column: data.columns[column] for column in chosen(data.columns, columns, data.source or "the profile")}
        )
    if type(data).__name__ == "SQLData":
        return data.profile(columns, categorical=categorical)  # type: ignore[no-any-return]
    if type(data).__name__ == "SparkRows":
        return data.profile(columns, categorical=categorical)  # type: ignore[no-any-return]
    if type(data).__module__.startswith("pyspark."):
        from airflow_slo_provider.drift.engines.spark import profile_spark

        if where:
            raise ValueError("filter a Spark DataFrame with Spark: data.filter(...)")
        return profile_spark(data, columns, categorical=categorical)
    return profile_source(
        open_source(data, where=where),
        columns,
        categorical=frozenset(text_list(categorical)),
        progress=progress,
    )


def profile_source(
    source: Source,
    columns: Sequence[str] | None = None,
    *,
    categorical: frozenset[str] = frozenset(),
    progress: Progress | None = None,
) -> DatasetProfile:
    """Profile the rows of a source."""
    types = source.columns()
    names = chosen(types, columns, source.name)
    builders = {column: ColumnBuilder(column) for column in names}
    lacking = source.problems() if hasattr(source, "problems") else {}
    for column in names:
        if column in lacking:
            builders[column].fail(lacking[column])

    def consume(column: str, values: Values) -> None:
        builders[column].add(values)

    readable = [column for column in names if column not in lacking]
    run_tasks(source.tasks(readable, categorical), consume, progress=progress)
    made = {column: builder.profile() for column, builder in builders.items()}
    for column, held in made.items():
        if not held.dtype:
            object.__setattr__(held, "dtype", types[column])
    return DatasetProfile(columns=made, rows=max((held.rows for held in made.values()), default=0), source=source.name)


def run_tasks(
    tasks: Iterable[Task], consume: Callable[[str, Values], None], *, threads: int | None = None, progress: Progress | None = None
) -> None:
    """Run tasks on threads; the first error stops the other tasks."""
    work = list(tasks)
    workers = threads or min(8, os.cpu_count() or 1)
    done = 0

    def finished(_: Future[None]) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, len(work))

    if workers == 1 or len(work) < 2:
        for number, task in enumerate(work, 1):
            task.run(consume)
            if progress is not None:
                progress(number, len(work))
        return
    with ThreadPoolExecutor(workers, thread_name_prefix="drift") as pool:
        futures = []
        for task in work:
            future = pool.submit(task.run, consume)
            future.add_done_callback(finished)
            futures.append(future)
        try:
            settled, _ = wait(futures, return_when=FIRST_EXCEPTION)
        finally:  # Also when Airflow's timeout ends the task here: otherwise the pool would finish its whole queue first.
            for future in futures:
                future.cancel()
        for future in settled:
            future.result()
