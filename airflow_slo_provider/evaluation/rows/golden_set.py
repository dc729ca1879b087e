"""Read and check golden sets: rows with known labels, identified by a hash of their content."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.core import strict_json
from airflow_slo_provider.core.text_lists import text_list
from airflow_slo_provider.exceptions import InvalidMeasurement, NoData, to_install

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

FORMATS = {".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl"}


@dataclass(frozen=True, kw_only=True)
class Schema:
    """Roles of a golden set's columns.

    :param id: identifies a row; predictions are joined by it
    :param label: the true value: a class, a number, or a relevance (ranking)
    :param features: inputs of the model; by default every column without another role
    :param group: the query a row belongs to (ranking)
    :param segments: columns whose values are evaluated separately
    :param weight: weight of a row
    :param ignored: further columns that are not features, e.g. stored predictions
    """

    id: str = "id"
    label: str = "label"
    features: tuple[str, ...] | None = None
    group: str | None = None
    segments: tuple[str, ...] = ()
    weight: str | None = None
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class GoldenSet:
    """A golden set that was read and checked.

    :param frame: its rows, sorted by id
    :param schema: roles of its columns
    :param content_hash: SHA-256 of ids, labels, features, groups, segments and weights, whatever the file's format or row order
    :param unlabelled: rows without a label; they count as not covered
    :param source: where it was read from
    """

    frame: pd.DataFrame
    schema: Schema
    content_hash: str
    unlabelled: int = 0
    source: str = ""

    @property
    def rows(self) -> int:
        """Number of rows, including those without a label."""
        return len(self.frame)

    def features(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the inputs of the model, one row per golden-set row.

        :param columns: columns in the order the model needs; by default those of the schema
        :raises InvalidMeasurement: for a column that does not exist
        """
        columns = None if columns is None else text_list(columns)
        for column in columns or ():
            require_column(self.frame, column, self.source or "the golden set")
        return self.frame[list(feature_columns(self.frame, self.schema) if columns is None else columns)]

    @property
    def ids(self) -> NDArray[Any]:
        """Ids of the rows."""
        ids: NDArray[Any] = self.frame[self.schema.id].to_numpy()
        return ids

    @property
    def seed(self) -> int:
        """Seed of the bootstrap; the same rows give the same interval."""
        return int(self.content_hash[:15], 16)


def feature_columns(frame: pd.DataFrame, schema: Schema) -> Sequence[str]:
    """Return the names of the features."""
    if schema.features is not None:
        return schema.features
    other = {schema.id, schema.label, schema.group, schema.weight, *schema.segments, *schema.ignored}
    return [str(column) for column in frame.columns if column not in other]


def read_table(path: Any, form: str | None = None) -> pd.DataFrame:
    """Read a table from a file.

    :param path: a path with ``open`` and ``name``: :class:`pathlib.Path`, Airflow's ``ObjectStoragePath``
    :param form: ``parquet``, ``csv`` or ``jsonl``; by default from the file's name
    :raises NoData: when the file does not exist or is empty
    :raises InvalidMeasurement: when it cannot be read in that format
    """
    import pandas as pd

    suffix = "." + str(path.name).rpartition(".")[2].lower()
    kind = form or FORMATS.get(suffix)
    if kind not in set(FORMATS.values()):
        raise InvalidMeasurement(f"{path}: {kind or suffix!r} is not a table format; write parquet, csv or jsonl")
    try:
        with path.open("rb") as file:
            if kind == "parquet":
                return pd.read_parquet(file)
            if kind == "csv":
                # Before pandas 3 the default parser rounds the last digit, which would change the content hash.
                exact = {"float_precision": "round_trip"} if int(pd.__version__.partition(".")[0]) < 3 else {}
                # An empty cell and NaN are missing values. "NA" and "None" are not: they can be a country or a label.
                return pd.read_csv(file, keep_default_na=False, na_values=["", "nan", "NaN"], **exact)
            # pandas' own JSON reader guesses dates by a column's name, and rounds numbers.
            return pd.DataFrame([strict_json.loads(line, constants=True) for line in file if line.strip()])
    except FileNotFoundError:
        raise NoData(f"{path}: there is no such file", source=str(path)) from None
    except ImportError as error:
        raise InvalidMeasurement(f"{path}: {error}; parquet needs pyarrow: {to_install('drift')}") from error
    except pd.errors.EmptyDataError:
        raise NoData(f"{path}: the file is empty", source=str(path)) from None
    except Exception as error:  # some of pyarrow's errors are not ValueErrors in every release
        if not isinstance(error, ValueError) and type(error).__module__.partition(".")[0] != "pyarrow":
            raise
        reason = strict_json.json_error_reason(error, InvalidMeasurement.default_reason)
        raise InvalidMeasurement(f"{path}: not readable as {kind}: {error}", reason=reason, source=str(path)) from error


def make_golden_set(frame: pd.DataFrame, schema: Schema, source: str = "") -> GoldenSet:
    """Check the rows of a golden set.

    :raises NoData: when it has no row, or no row with a label
    :raises InvalidMeasurement: for a column that does not exist, and for an id that is missing or occurs twice
    """
    where = source or "the golden set"
    if frame.empty:
        raise NoData(f"{where} has no rows", source=source or None)
    for column in dict.fromkeys([*_list_columns(schema), *map(str, frame.columns)]):
        require_column(frame, column, where)
    check_ids(frame, schema.id, where)
    frame = frame.sort_values(schema.id, key=lambda ids: ids.map(str), kind="stable").reset_index(drop=True)
    unlabelled = int(frame[schema.label].isna().sum())
    if unlabelled == len(frame):
        raise NoData(f"{where}: none of {len(frame)} rows has a label in column {schema.label!r}", source=source or None)
    return GoldenSet(frame=frame, schema=schema, content_hash=_hash_content(frame, schema), unlabelled=unlabelled, source=source)


def require_column(frame: pd.DataFrame, column: str, where: str) -> None:
    """Check that a column exists exactly once.

    :raises InvalidMeasurement: with the closest name
    """
    if list(frame.columns).count(column) > 1:
        raise InvalidMeasurement(f"{where} has more than one column {column!r}; give each a different name")
    if column not in frame.columns:
        near = get_close_matches(column, [str(name) for name in frame.columns], 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(map(repr, list(frame.columns)[:12]))}"
        raise InvalidMeasurement(f"{where} has no column {column!r}; {hint}")


def check_ids(frame: pd.DataFrame, column: str, where: str) -> None:
    """Check that every row has an id of its own.

    :raises InvalidMeasurement: with some of the ids
    """
    ids = frame[column]
    missing = int(ids.isna().sum())
    if missing:
        raise InvalidMeasurement(f"{where}: {missing} of {len(frame)} rows have no id in column {column!r}")
    repeated = ids[ids.duplicated()].unique()
    if len(repeated):
        examples = ", ".join(map(str, repeated[:5]))
        raise InvalidMeasurement(f"{where}: {len(repeated)} ids occur more than once, e.g. {examples}; each row needs its own")


def _list_columns(schema: Schema) -> list[str]:
    required = [schema.id, schema.label, *(schema.features or ()), *schema.segments]
    return required + [column for column in (schema.group, schema.weight) if column]


def _hash_content(frame: pd.DataFrame, schema: Schema) -> str:
    """Hash the content that the evaluation uses; column order, row order and file format do not matter."""
    import pandas as pd

    digest = hashlib.sha256()
    for column in sorted({*_list_columns(schema), *feature_columns(frame, schema)}):
        digest.update(column.encode() + b"\0")
        values = frame[column]
        if values.isna().all():
            values = values.astype(object)
        if values.dtype.kind == "b" or (values.dtype.kind in "iu" and values.abs().max() < 1 << 53):
            values = values.astype("float64")  # whether 1 is written as 1 or 1.0 depends on the format
        elif values.dtype.kind not in "iuf":
            texts = [None if missing else str(value) for value, missing in zip(values, values.isna(), strict=True)]
            values = pd.Series(texts, dtype=object)
        digest.update(pd.util.hash_pandas_object(values, index=False).to_numpy().tobytes())
    return digest.hexdigest()
