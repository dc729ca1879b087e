"""Reading evidence, which holds whatever a check wrote: a wrong type is an absent value, never an error of the page."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from airflow_slo_provider.ledger.queries.changes import first_text

#: Where checks keep the address of their report.
REPORT_KEYS = ("report_uri", "report", "report_url", "html_report", "postmortem", "markdown")
TRACE_KEYS = ("trace_id", "trace_ids", "worst_trace_id", "slowest_trace_id")
_LONGEST = 20_000

#: The first of some entries that is a text or a number, as text; empty where there is none.
text = first_text


def number(source: Any, *keys: str) -> float | None:
    """The first of some entries that is a finite number."""
    found = (value for value in _entries(source, keys) if isinstance(value, (int, float)) and not isinstance(value, bool))
    return next((float(value) for value in found if math.isfinite(value)), None)


def mapping(source: Any, *keys: str) -> Mapping[str, Any]:
    """The first of some entries that is a mapping; empty where there is none."""
    return next((value for value in _entries(source, keys) if isinstance(value, Mapping)), {})


def sequence(source: Any, *keys: str) -> Sequence[Any]:
    """The first of some entries that is a list; empty where there is none."""
    return next((value for value in _entries(source, keys) if isinstance(value, (list, tuple))), ())


def _entries(source: Any, keys: Iterable[str]) -> Iterator[Any]:
    return (source.get(key) for key in keys) if isinstance(source, Mapping) else iter(())


def reports(source: Any) -> list[str]:
    """The keys of the entries that name a report."""
    return [key for key in REPORT_KEYS if isinstance(source, Mapping) and isinstance(source.get(key), str) and source[key]]


def trace_ids(source: Any) -> list[str]:
    """The traces that evidence names."""
    found: list[str] = []
    for value in _entries(source, TRACE_KEYS):
        found += [item for item in ([value] if isinstance(value, str) else value or ()) if isinstance(item, str)]
    return list(dict.fromkeys(found))[:20]


def pretty(source: Any) -> str:
    """Evidence as indented JSON, cut where it is very long."""
    shown = json.dumps(source, indent=2, ensure_ascii=False, default=str)
    return shown if len(shown) <= _LONGEST else shown[:_LONGEST] + "\n... (cut)"


def scalars(source: Any) -> Iterator[tuple[str, str]]:
    """Entries that are single values, in words."""
    if isinstance(source, Mapping):
        for key, value in source.items():
            if isinstance(value, (str, int, float, bool)) and len(str(value)) <= 200:
                yield str(key).replace("_", " "), str(value)
