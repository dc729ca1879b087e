"""Write the upper bound of a histogram bucket so that it matches in every version of Prometheus.

The label ``le`` of a classic histogram is text. Prometheus 2 stores what the service exposes, ``1`` or ``1.0``; Prometheus 3
stores ``1.0``. A matcher ``le="1"`` therefore finds nothing after an upgrade, and half of a window that contains one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from decimal import Decimal

from airflow_slo_provider.slo.promql.selectors import escape_regex
from airflow_slo_provider.slo.promql.text import quote

_STRING = r'"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'|`[^`]*`'
# A matcher of le, or what must not be searched for one: strings and comments.
_BOUND = re.compile(rf"(?:(?<![\w.:])le|\"le\")\s*=\s*(?P<quote>[\"'`])(?P<bound>[^\"'`\\\n]*)(?P=quote)|{_STRING}|#[^\n]*")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


def bound_spellings(bound: str) -> tuple[str, ...]:
    """Return the texts that Prometheus may store for a bound: ``1`` -> ``1``, ``1.0``; ``0.50`` -> ``0.5``.

    :param bound: a number; infinity is spelt ``+Inf`` everywhere
    :raises ValueError: when it is not a finite number
    """
    if _NUMBER.fullmatch(bound) is None or not math.isfinite(value := float(bound)):
        raise ValueError(f"{bound!r} is not a number")
    shortest = _format(value)
    return (shortest,) if set(shortest) & set(".e") else (shortest, f"{shortest}.0")


def bound_matcher(bound: str) -> str:
    """Write the matcher of a bucket: of one spelling, such as ``le="0.5"``, or of two as a regular expression.

    :param bound: the bound, a finite number
    :raises ValueError: when it is not a number
    """
    return _matcher(bound_spellings(bound))


def with_all_spellings(query: str) -> str:
    """Let each matcher ``le="..."`` of a query match every spelling of its bound.

    :param query: PromQL
    """
    return _BOUND.sub(lambda match: _matcher(_written(match)) if _written(match) else match[0], query)


def narrow_bounds(query: str) -> Iterator[tuple[str, str]]:
    """Yield each matcher of a query that misses a spelling of its bound, and the matcher that finds all.

    :param query: PromQL
    """
    for match in _BOUND.finditer(query):
        if len(_written(match)) > 1:
            yield match[0], _matcher(_written(match))


def _written(match: re.Match[str]) -> tuple[str, ...]:
    """Return the spellings of a matched bound, its own included; none for other matches."""
    bound = match["bound"]
    try:
        return tuple(dict.fromkeys((bound, *bound_spellings(bound)))) if bound else ()
    except ValueError:  # +Inf, or not the bound of a histogram
        return ()


def _matcher(spellings: tuple[str, ...]) -> str:
    if len(spellings) == 1:
        return f"le={quote(spellings[0])}"
    return f"le=~{quote('|'.join(map(escape_regex, spellings)))}"


def _format(value: float) -> str:
    """Format a number as the exposition format does: shortest digits, an exponent below 1e-4 and from 1e6 on."""
    number = Decimal(repr(value)).normalize() + 0
    exponent = number.adjusted()
    if not number or -4 <= exponent < 6:
        return format(number, "f")
    digits = format(number.scaleb(-exponent).normalize(), "f")
    return f"{digits}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
