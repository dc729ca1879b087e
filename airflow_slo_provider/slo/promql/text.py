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
_MATCHER_TEXT = r"""(?:[^"'`{}\[\]()]|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)*"""
_SELECTOR = rf"(?:[a-zA-Z_:][a-zA-Z0-9_:]*\s*(?:\{{{_MATCHER_TEXT}\}})?|\{{{_MATCHER_TEXT}\}})"
_BARE = re.compile(rf"(?P<selector>{_SELECTOR})")
_SUMMED = re.compile(rf"sum\s*(?:by\s*\(\s*\)\s*)?\(\s*(?P<selector>{_SELECTOR})\s*\)")
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


def has_window(query: str) -> bool:
    """Return whether the query contains the placeholder ``{{.window}}``."""
    return _WINDOW.search(query) is not None


def with_window(query: str, window: str) -> str:
    """Replace ``{{.window}}`` (with or without spaces) by a window."""
    return _WINDOW.sub(lambda _: window, query)


def selector_of(query: str) -> str | None:
    """Return the series selector of a query that is ``SELECTOR`` or ``sum(SELECTOR)``; None for every other form."""
    text = query.strip()
    match = _BARE.fullmatch(text) or _SUMMED.fullmatch(text)
    return match["selector"].strip() if match else None


def counts_over(query: str, window: str, *, counter: bool) -> str:
    """Write the query that counts events over a window.

    ``{{.window}}`` is replaced, and the rest is not changed. ``SELECTOR`` or ``sum(SELECTOR)`` becomes
    ``sum(increase(SELECTOR[window]))`` if it reads a counter, and ``sum(sum_over_time(SELECTOR[window]))`` if every sample is a
    count of its own.

    :param query: query text of an OpenSLO ``metricSource``
    :param window: PromQL duration
    :param counter: whether the series are monotonic counters (OpenSLO ``ratioMetric.counter``)
    :raises ValueError: for an expression without ``{{.window}}``, and for a series that is named like a counter but not
        declared as one: the sum of a counter's samples is meaningless
    """
    text = query.strip()
    if has_window(text):
        return with_window(text, window)
    selector = selector_of(text)
    if selector is None:
        example = "sum(increase(requests_total[{{.window}}]))"
        raise ValueError(f"no window in {shorten(text)!r}; write {{{{.window}}}} as its range, e.g. {example}")
    if not counter and COUNTER_NAME.match(selector):
        raise ValueError(f"{shorten(selector)} is named like a counter; set counter: true, or write {{{{.window}}}} as its range")
    return f"sum({'increase' if counter else 'sum_over_time'}({selector}[{window}]))"


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
        text = format(Decimal(value.numerator) / Decimal(value.denominator), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def quote(text: str) -> str:
    """Write a PromQL string literal."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    escaped = escaped.replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
    return f'"{escaped}"'


def shorten(text: str, limit: int = 120) -> str:
    """Shorten text to one line of at most ``limit`` characters, for messages."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 3] + "..."
