"""Write PromQL text: windows, counts over a window, numbers and quoted strings.

The Prometheus indicator uses these functions too, so that an alert and a gate run the same query.
"""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal, localcontext
from fractions import Fraction

from airflow_slo_provider.documents.durations import Duration, as_duration, format_seconds

_WINDOW = re.compile(r"\{\{-?\s*\.window\s*-?\}\}")
# Names that Prometheus reserves by convention for counters, and for the counters of histograms and summaries.
COUNTER_NAME = re.compile(r"[a-zA-Z0-9_:]+_(total|count|bucket)\b")

#: The PromQL form of each OpenSLO operator.
OPERATORS = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
#: The negation of each operator (for numbers; NaN satisfies neither).
OPPOSITES = {"lt": ">=", "lte": ">", "gt": "<=", "gte": "<"}


def window_text(window: str | timedelta | Duration) -> str:
    """Write a window in PromQL, in its largest whole unit up to days: 28 days -> ``28d``, 4 weeks -> ``28d``.

    :raises ValueError: for a calendar duration, which has no fixed length
    """
    return format_seconds(int(as_duration(window).timedelta.total_seconds()))


def duration_text(length: timedelta) -> str:
    """Write a length in PromQL, in its largest whole unit up to days, or in milliseconds."""
    milliseconds = length // timedelta(milliseconds=1)
    return f"{milliseconds}ms" if milliseconds % 1000 else format_seconds(milliseconds // 1000)


def has_window(query: str) -> bool:
    """Return whether the query contains the placeholder ``{{.window}}``."""
    return _WINDOW.search(query) is not None


def with_window(query: str, window: str) -> str:
    """Replace ``{{.window}}`` (with or without spaces) by a window."""
    return _WINDOW.sub(lambda _: window, query)


def grid(window: str, step: str) -> str:
    """Write the range of a subquery that reads exactly ``window / step`` points.

    The points of a subquery lie on multiples of its step. Prometheus 2 includes the start of a range and 3 does not; with one
    millisecond less both read the points in (start, end].
    """
    milliseconds = int(as_duration(window).timedelta.total_seconds()) * 1000 - 1
    return f"[{milliseconds}ms:{step}]"


def close(query: str) -> str:
    """Append a line break to text with a comment, so that a bracket after it is not part of the comment."""
    return f"{query}\n" if "#" in query else query


def number(value: Fraction) -> str:
    """Write a rational as decimal text: exactly if it has a finite decimal form, otherwise as the nearest float."""
    rest, digits = value.denominator, 0
    for factor in (2, 5):
        count = 0
        while rest % factor == 0:
            rest, count = rest // factor, count + 1
        digits = max(digits, count)
    if rest != 1:
        return repr(float(value))
    with localcontext() as context:
        context.prec = digits + len(str(abs(value.numerator))) + 1
        return format(Decimal(value.numerator) / Decimal(value.denominator), "f")


def quote(text: str) -> str:
    """Write a PromQL string literal."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    escaped = escaped.replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
    return f'"{escaped}"'


def shorten(text: str, limit: int = 120) -> str:
    """Shorten text to one line of at most ``limit`` characters, for messages."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 3] + "..."
