"""SQL syntax that differs between databases. All other queries are plain ANSI: sums over CASE, GROUP BY."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

#: The largest finite float64.
LARGEST = "1.7976931348623157e308"


@dataclass(frozen=True)
class Dialect:
    """Syntax of one database.

    :param quote: quotation character of identifiers
    :param double: name of the 64-bit float type
    :param infinity: expression of +infinity, empty if a column cannot hold it
    :param microseconds: expression of the microseconds since 1970 in UTC of ``{x}``
    :param duration: expression of the microseconds of the interval or time of day ``{x}``
    :param text: name of the text type in a CAST
    :param quantiles: ``array`` (one expression gives all), ``scalar`` (one each) or ``rank`` (rows by their number)
    :param array: the array expression, with ``{x}``, ``{condition}`` and ``{shares}``
    :param buckets: how rows below edges are counted: ``sums`` over CASE, one ``histogram`` per column, or groups
        of a ``width_bucket``
    :param whole: condition that ``{x}`` is stored as a whole number, for databases where types can differ by row
    """

    name: str
    quote: str = '"'
    double: str = "DOUBLE PRECISION"
    infinity: str = "CAST('Infinity' AS DOUBLE PRECISION)"
    microseconds: str = "CAST(EXTRACT(EPOCH FROM {x}) * 1000000 AS BIGINT)"
    duration: str = "CAST(EXTRACT(EPOCH FROM {x}) * 1000000 AS BIGINT)"
    text: str = "VARCHAR"
    quantiles: str = "rank"
    array: str = ""
    buckets: str = "sums"
    whole: str = ""

    def identifier(self, name: str) -> str:
        """Return a quoted name."""
        return self.quote + name.replace(self.quote, 2 * self.quote) + self.quote

    def number(self, value: float | int) -> str:
        """Return a number as SQL text without losing a digit."""
        return str(value) if isinstance(value, int) else f"CAST('{value!r}' AS {self.double})"

    def finite(self, x: str) -> str:
        """Return the condition that a float is neither NaN nor infinite, however the database orders NaN."""
        return f"{x} BETWEEN {self.number(-float(LARGEST))} AND {self.number(float(LARGEST))}"

    def between(self, column: str, start: datetime, end: datetime) -> str:
        """Return the condition that a column lies between two times, the end excluded."""
        # A plain name is not quoted, so that the database can fold its case.
        name = column if column.isidentifier() and column.isascii() else self.identifier(column)
        first, last = start.astimezone(UTC), end.astimezone(UTC)
        if self.name == "sqlite":
            # SQLite compares times as texts; datetime() gives equal timestamps, with or without an offset, the same text.
            name = f"datetime({name})"
            return f"{name} >= '{first:%Y-%m-%d %H:%M:%S}' AND {name} < '{last:%Y-%m-%d %H:%M:%S}'"
        return f"{name} >= '{first.isoformat(sep=' ')}' AND {name} < '{last.isoformat(sep=' ')}'"

    def quantile_list(self, x: str, condition: str, shares: Sequence[str]) -> list[str]:
        """Return expressions of the type-1 quantiles: one array expression, or one expression each."""
        if self.quantiles == "array":
            return [self.array.format(x=x, condition=condition, shares=", ".join(shares))]
        return [f"PERCENTILE_DISC({share}) WITHIN GROUP (ORDER BY CASE WHEN {condition} THEN {x} END)" for share in shares]


DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        Dialect(
            "postgresql",
            quantiles="array",
            array="percentile_disc(CAST(ARRAY[{shares}] AS DOUBLE PRECISION[]))"
            " WITHIN GROUP (ORDER BY {x}) FILTER (WHERE {condition})",
            buckets="width_bucket",
        ),
        Dialect(
            "duckdb",
            double="DOUBLE",
            infinity="CAST('Infinity' AS DOUBLE)",
            microseconds="epoch_us({x})",
            duration="epoch_us({x})",
            quantiles="array",
            array="quantile_disc({x}, [{shares}]) FILTER (WHERE {condition})",
            buckets="histogram",
        ),
        Dialect(
            "sqlite",
            # SQLite reads "name" as a text if there is no such column; `name` is always a name.
            quote="`",
            double="REAL",
            infinity="9e999",
            # SQLite stores times as text, with milliseconds.
            microseconds="(CAST(strftime('%s', {x}) AS INTEGER) * 1000000"
            " + CAST(ROUND((strftime('%f', {x}) - strftime('%S', {x})) * 1000) AS INTEGER) * 1000)",
            duration="{x}",
            text="TEXT",
            whole="typeof({x}) = 'integer'",
        ),
        Dialect(
            "snowflake",
            double="DOUBLE",
            infinity="CAST('inf' AS DOUBLE)",
            microseconds="DATE_PART(epoch_microsecond, {x})",
            duration="DATEDIFF(microsecond, TIME '00:00:00', {x})",
            quantiles="scalar",
        ),
        Dialect(
            "bigquery",
            quote="`",
            double="FLOAT64",
            infinity="CAST('inf' AS FLOAT64)",
            microseconds="UNIX_MICROS(TIMESTAMP({x}))",
            duration="TIME_DIFF({x}, TIME '00:00:00', MICROSECOND)",
            text="STRING",
        ),
        Dialect(
            "redshift",
            infinity="CAST('Infinity' AS DOUBLE PRECISION)",
            microseconds="DATEDIFF(microsecond, TIMESTAMP '1970-01-01 00:00:00', {x})",
            duration="DATEDIFF(microsecond, TIME '00:00:00', {x})",
            quantiles="scalar",
        ),
        Dialect(
            "mysql",
            quote="`",
            double="DOUBLE",
            infinity="",
            microseconds="TIMESTAMPDIFF(MICROSECOND, TIMESTAMP '1970-01-01 00:00:00', {x})",
            duration="TIMESTAMPDIFF(MICROSECOND, TIME '00:00:00', {x})",
            text="CHAR",
        ),
    )
}
DIALECTS["postgres"] = DIALECTS["postgresql"]
