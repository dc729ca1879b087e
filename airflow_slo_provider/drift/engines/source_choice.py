"""Choose the source for the kind of data: files, data frames, Arrow tables, plain arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_slo_provider.drift.engines.arrow_source import TableSource
from airflow_slo_provider.drift.engines.file_source import open_files
from airflow_slo_provider.drift.engines.sources import Filter, FrameSource, Source, check_filter
from airflow_slo_provider.exceptions import InvalidMeasurement


def open_source(data: Any, *, where: Filter | None = None) -> Source:
    """Open data as a source of rows.

    :param data: a path, glob, directory or URI of files, a path object, a list of paths, a DataFrame, Series, Arrow table or
        record batches, a mapping of arrays, or one array
    :param where: (column, operator, value) conditions that rows must satisfy
    :raises QueryError: when files do not exist or cannot be read
    :raises InvalidMeasurement: for an unsupported kind of data
    """
    check_filter(where)
    module = type(data).__module__.partition(".")[0]
    if module == "pandas":
        if type(data).__name__ == "DataFrame":
            return FrameSource(data, where=where)
        return FrameSource({str(getattr(data, "name", None) or "value"): data}, where=where, name="Series")
    if module == "numpy":
        if data.ndim != 1:
            raise InvalidMeasurement(f"an array of shape {data.shape} is not a column; pass one dimension, or a DataFrame")
        return FrameSource({"value": data}, where=where, name="array")
    if isinstance(data, Mapping):
        return FrameSource(data, where=where, name="arrays")
    if module == "polars":
        data, module = data.to_arrow(), "pyarrow"
    if module == "pyarrow" or hasattr(data, "__arrow_c_stream__"):
        return TableSource(data, where=where)
    if isinstance(data, (list, tuple)) and data and not isinstance(data[0], str) and not hasattr(data[0], "__fspath__"):
        return FrameSource({"value": data}, where=where, name="list")
    if isinstance(data, (str, list, tuple)) or hasattr(data, "__fspath__") or hasattr(data, "fs"):
        return open_files(data, where=where)
    raise InvalidMeasurement(f"{type(data).__name__} holds no rows; pass a path, a DataFrame, an Arrow table or a profile")
