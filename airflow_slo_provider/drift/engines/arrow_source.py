"""Read Arrow tables, and files through Arrow's dataset scanner: CSV, Arrow, JSON and ORC, and filtered Parquet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from airflow_slo_provider.drift.engines.sources import (
    COMPARISONS,
    PIECE,
    Consume,
    Filter,
    Task,
    read_error,
    require_pyarrow,
    select_columns,
    to_naive_utc,
)
from airflow_slo_provider.drift.profiles.arrow_values import arrow_values, kind_of
from airflow_slo_provider.exceptions import InvalidMeasurement


def filter_expression(where: Filter, schema: Any) -> Any:
    """Convert a filter to an Arrow expression, None for an empty filter.

    :param schema: schema of the filtered data: for naive timestamp columns, a timestamp is converted to UTC
    """
    import pyarrow.compute as pc
    import pyarrow.types as kinds

    combined = None
    for column, operator, value in where:
        field, kind = pc.field(column), schema.field(column).type
        if kinds.is_timestamp(kind) and kind.tz is None:
            value = to_naive_utc(value) if operator in COMPARISONS else [to_naive_utc(item) for item in value]
        condition = COMPARISONS[operator](field, value) if operator in COMPARISONS else field.isin(list(value))
        condition = ~condition if operator == "not in" else condition
        combined = condition if combined is None else combined & condition
    return combined


class TableSource:
    """Source for an Arrow table, a record batch, or any object with an Arrow stream."""

    name = "Arrow table"

    def __init__(self, data: Any, *, where: Filter | None = None) -> None:
        require_pyarrow("an Arrow table")
        import pyarrow as pa

        if isinstance(data, (pa.Array, pa.ChunkedArray)):
            data = pa.table({"value": data})
        elif isinstance(data, pa.RecordBatch):
            data = pa.Table.from_batches([data])
        elif not isinstance(data, pa.Table):
            data = pa.table(data)
        names = data.column_names
        if len(set(names)) < len(names):
            raise InvalidMeasurement(f"{self.name} has more than one column {max(names, key=names.count)}", reason="bad_columns")
        select_columns(names, [item[0] for item in where or ()], self.name)
        self._table = data.filter(filter_expression(where, data.schema)) if where else data

    def columns(self) -> Mapping[str, str]:
        """Return the types of the columns, by name."""
        return {field.name: str(field.type) for field in self._table.schema}

    def tasks(self, columns: Sequence[str], categorical: frozenset[str]) -> Iterator[Task]:
        """Yield one task per column and piece of rows."""
        for name in columns:
            column = self._table.column(name)
            for start in range(0, max(1, len(column)), PIECE):
                rows = column.slice(start, PIECE)

                def run(consume: Consume, name: str = name, rows: Any = rows) -> None:
                    consume(name, arrow_values(rows, categorical=name in categorical))

                yield Task(len(rows), run)


class ScanSource:
    """Source for files that Arrow's dataset scanner reads batch by batch, with the filter pushed down where the format allows.

    :param dataset: ``pyarrow.dataset.Dataset``
    :param remote: whether the files are remote, so that read errors may be transient
    """

    def __init__(self, dataset: Any, *, where: Filter | None = None, name: str, remote: bool = False) -> None:
        self._dataset = dataset
        select_columns(dataset.schema.names, [item[0] for item in where or ()], name)
        self._where = tuple(where or ())
        # The dataset's own schema is that of its first file only.
        self._fields = {field.name: field for part in dataset.get_fragments() for field in part.physical_schema}
        self._fields.update({field.name: field for field in dataset.schema if field.name in self._fields})
        self.name, self._remote = name, remote

    def columns(self) -> Mapping[str, str]:
        """Return the types of the columns, by name. Partition keys of directories can be filtered by, but are not columns."""
        return {name: str(field.type) for name, field in self._fields.items()}

    def problems(self) -> dict[str, str]:
        """Return the problem of each column that some file lacks or has with another kind; Arrow would fill in nulls."""
        found: dict[str, str] = {}
        for fragment in self._dataset.get_fragments():
            kinds = {field.name: kind_of(field.type) for field in fragment.physical_schema}
            for name, field in self._fields.items():
                kind = kinds.get(name)
                if kind is None:
                    found.setdefault(name, f"column {name} is missing in {fragment.path}")
                elif "empty" not in (kind, kind_of(field.type)) and kind != kind_of(field.type):
                    found.setdefault(name, f"column {name} is {kind_of(field.type)} in one file and {kind} in {fragment.path}")
        return found

    def tasks(self, columns: Sequence[str], categorical: frozenset[str]) -> Iterator[Task]:
        """Yield a single task, because the scanner has its own threads."""

        def run(consume: Consume) -> None:
            import pyarrow as pa

            try:
                where = filter_expression(self._where, self._dataset.schema)
                readahead = {"batch_size": PIECE // 8, "batch_readahead": 4, "fragment_readahead": 1}
                for batch in self._dataset.scanner(columns=list(columns), filter=where, **readahead).to_batches():
                    for index, name in enumerate(columns):
                        consume(name, arrow_values(batch.column(index), categorical=name in categorical))
            except (pa.ArrowException, OSError, ValueError) as error:
                raise read_error(error, f"{self.name} cannot be read", remote=self._remote) from None

        yield Task(1, run)
