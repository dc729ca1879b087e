"""Read the samples of a Prometheus answer: exact numbers, of the requested time. Used by the blocking and the async client.

The rest of the answer (status, headers, warnings, marks of a partial answer) is checked in :mod:`.answer_checks`.

Prometheus answers an instant query with samples of exactly the evaluation time, whatever ``offset``, ``@`` or a range reads,
and a range query with points on the grid of the request. A sample of another time comes from somewhere else: a stale cache, or
VictoriaMetrics, which moves a range of 50 or more points to multiples of its step so that its own cache can serve it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from itertools import pairwise
from typing import Any

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.indicators.prometheus.answer_checks import (
    VerifiedAnswer,
    answer_error,
    contradiction_error,
    shape_error,
)  # fmt: skip
from airflow_slo_provider.slo.promql.absence import may_be_scalar

_HINT = 'for VictoriaMetrics, set {"nocache": "1"} in the connection\'s params'
#: Maximum difference of a sample's time in milliseconds: a server that reads ``time`` as a float64 and truncates it is off by
#: one.
TIME_TOLERANCE = 1
# Go writes float64 as 12960, 0.25, 1e+06 or 5e-324. A longer exponent is not a float64 and would make a huge integer.
_NUMBER = re.compile(r"-?(?:[0-9]{1,400}(?:\.[0-9]{1,1100})?|\.[0-9]{1,1100})(?:[eE][+-]?[0-9]{1,3})?")
#: No float64 is as large as the first; every whole number with fewer digits than the second is smaller than it.
_BEYOND, SURELY_FINITE = 2**1024, 309
_SPECIAL = {"NaN": "NaN", "Inf": "+Inf", "+Inf": "+Inf", "-Inf": "-Inf"}


@dataclass(frozen=True)
class Sample:
    """One value of one series.

    :param labels: the series' labels
    :param value: the exact value of ``text``; None for NaN, +Inf and -Inf, which are never compared
    :param text: the value as the server wrote it
    :param at: time in unix milliseconds
    """

    labels: Mapping[str, str]
    value: Fraction | None
    text: str
    at: int = 0

    @property
    def is_nan(self) -> bool:
        """Whether the value is NaN."""
        return self.value is None and self.text == "NaN"

    @property
    def is_infinite(self) -> bool:
        """Whether the value is +Inf or -Inf."""
        return self.value is None and self.text != "NaN"


@dataclass(frozen=True)
class RangeSeries:
    """One series of a range query.

    :param labels: the series' labels
    :param points: ``(unix milliseconds, value as the server wrote it)``, oldest first
    """

    labels: Mapping[str, str]
    points: tuple[tuple[int, str], ...]


def parse_value(text: object) -> Fraction | None:
    """Parse a sample value exactly from its text.

    :return: the exact value; None for NaN and the infinities
    :raises ValueError: when it is not a number
    """
    if isinstance(text, str):
        if text.isascii() and text.isdigit() and len(text) < SURELY_FINITE:
            return Fraction(int(text))
        if text in _SPECIAL:
            return None
        if _NUMBER.fullmatch(text) and abs(value := Fraction(text)) < _BEYOND:
            return value
    raise ValueError(f"sample value {text!r:.60} is not a number in a string")


def format_time(at: datetime) -> str:
    """Format a time for the API: unix seconds, to the millisecond, rounded down.

    :raises ValueError: for a naive datetime
    """
    milliseconds = to_milliseconds(at)
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds}.{rest:03d}" if rest else str(seconds)


def to_milliseconds(at: datetime) -> int:
    """Convert a time to unix milliseconds, rounded down.

    :raises ValueError: for a naive datetime
    """
    if at.tzinfo is None:
        raise ValueError(f"{at} has no time zone; a query's time must be one instant")
    # timestamp() of an aware datetime is exact to the microsecond for every year Prometheus can hold.
    return round(at.timestamp() * 1_000_000) // 1000


def samples(answer: VerifiedAnswer, *, query: str, source: str, at: int | None = None) -> list[Sample]:
    """Read the result of an instant query; a scalar is one sample without labels.

    :param at: the requested time in unix milliseconds; None if it is not known
    :param answer: the verified answer
    :param query: text of the query
    :param source: public URL of the server, for the message
    :raises QueryError: for a matrix or a string, for a scalar although the query reads series, for an answer without the
        documented shape, for a sample of another time (reason ``stale_answer``), and for two samples of one series (reason
        ``contradictory_answer``)
    """
    if answer.result_type in ("matrix", "string"):
        found = "range vector" if answer.result_type == "matrix" else "string"
        raise answer_error(f"the query returns a {found}, not numbers at one instant", "wrong_result_type", query, source)
    if answer.result_type == "scalar" and not may_be_scalar(query):
        message = "the query reads series, but the server answers a scalar, which has no labels: it answered another query"
        raise answer_error(message, "wrong_result_type", query, source)
    rows = [{"metric": {}, "value": answer.result}] if answer.result_type == "scalar" else answer.result
    found_samples = []
    try:
        for row in rows:
            time, text = row["value"]
            found_samples.append(Sample(_labels(row["metric"]), parse_value(text), _SPECIAL.get(text, text), round(time * 1000)))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise shape_error(f"a sample is not of the form metric, [time, text]: {error}", query, source) from None
    _refuse_duplicates((sample.labels for sample in found_samples), query, source)
    for sample in found_samples:
        if at is not None and abs(sample.at - at) > TIME_TOLERANCE:
            raise _stale_error(f"requested {_seconds(at)}, received a sample of {_seconds(sample.at)}", query, source)
    return found_samples


def matrix(answer: VerifiedAnswer, *, query: str, source: str, grid: range | None = None) -> list[RangeSeries]:
    """Read the result of a range query.

    :param grid: the requested times in unix milliseconds; None if they are not known
    :param answer: the verified answer
    :param query: text of the query
    :param source: public URL of the server, for the message
    :raises QueryError: when it is not a matrix of the documented shape, for a point that is not on the grid (reason
        ``stale_answer``), and for a repeated series or point (reason ``contradictory_answer``)
    """
    if answer.result_type != "matrix":
        raise shape_error(f"a range query returned a {answer.result_type}", query, source)
    found, whole = [], None if grid is None else list(grid)
    try:
        for row in answer.result:
            # Fast path: whole seconds and texts, the usual case, need no conversion, which would take most of the time here.
            points = [
                (time * 1000 if type(time) is int else round(time * 1000), text if type(text) is str else str(text))
                for time, text in row["values"]
            ]
            times = [time for time, _ in points]
            # Most series have every point of the grid, and equal lists compare fast.
            if times != whole:
                if grid is not None and not all(map(grid.__contains__, times)):
                    points = [(_grid_point(time, grid, query, source), text) for time, text in points]
                if not all(first[0] < second[0] for first, second in pairwise(points)):
                    raise contradiction_error("the points of a series are not in the order of time, each once", query, source)
            found.append(RangeSeries(_labels(row["metric"]), tuple(points)))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise shape_error(f"a series is not of the form metric, [[time, text], ...]: {error}", query, source) from None
    _refuse_duplicates((series.labels for series in found), query, source)
    return found


def _grid_point(time: int, grid: range, query: str, source: str) -> int:
    """Return the grid point that a time belongs to."""
    for near in (time, time - TIME_TOLERANCE, time + TIME_TOLERANCE):
        if near in grid:
            return near
    requested = f"every {grid.step / 1000:g} s from {_seconds(grid[0])} to {_seconds(grid[-1])}"
    raise _stale_error(f"requested {requested}, received a point of {_seconds(time)}; {_HINT}", query, source)


def _refuse_duplicates(labels: Iterable[Mapping[str, str]], query: str, source: str) -> None:
    keys = [frozenset(item.items()) for item in labels]
    if len(set(keys)) < len(keys):
        raise contradiction_error("it holds the same series twice", query, source)


def _stale_error(message: str, query: str, source: str) -> QueryError:
    text = f"the server answered for another time than requested: {message}"
    return answer_error(text, "stale_answer", query, source, transient=True)


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds // 1000}.{milliseconds % 1000:03d}"


def _labels(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise ValueError("labels are not a mapping of texts")
    return value
