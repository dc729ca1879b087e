"""Read values from the evidence of checks; a value of the wrong type counts as missing and never causes an error."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from airflow_slo_provider.ledger.queries.changes import first_text

#: Keys under which checks store the path or URI of their report.
REPORT_KEYS = ("report_uri", "report", "report_url", "html_report", "postmortem", "markdown")
TRACE_KEYS = ("trace_id", "trace_ids", "worst_trace_id", "slowest_trace_id")
_MAX_LENGTH = 20_000

#: Return the first of some entries that is a text or a number, as text; empty if there is none.
text = first_text


def number(source: Any, *keys: str) -> float | None:
    """Return the first of some entries that is a finite number; None if there is none."""
    found = (value for value in _entries(source, keys) if isinstance(value, (int, float)) and not isinstance(value, bool))
    return next((float(value) for value in found if math.isfinite(value)), None)


def mapping(source: Any, *keys: str) -> Mapping[str, Any]:
    """Return the first of some entries that is a mapping; empty if there is none."""
    return next((value for value in _entries(source, keys) if isinstance(value, Mapping)), {})


def sequence(source: Any, *keys: str) -> Sequence[Any]:
    """Return the first of some entries that is a list; empty if there is none."""
    return next((value for value in _entries(source, keys) if isinstance(value, (list, tuple))), ())


def _entries(source: Any, keys: Iterable[str]) -> Iterator[Any]:
    return (source.get(key) for key in keys) if isinstance(source, Mapping) else iter(())


def report_keys(source: Any) -> list[str]:
    """Return the keys of the entries that name a report."""
    return [key for key in REPORT_KEYS if isinstance(source, Mapping) and isinstance(source.get(key), str) and source[key]]


def trace_ids(source: Any) -> list[str]:
    """Return the trace ids in evidence, at most 20."""
    found: list[str] = []
    for value in _entries(source, TRACE_KEYS):
        found += [item for item in ([value] if isinstance(value, str) else value or ()) if isinstance(item, str)]
    return list(dict.fromkeys(found))[:20]


def format_json(source: Any) -> str:
    """Format evidence as indented JSON, truncated if it is very long."""
    shown = json.dumps(source, indent=2, ensure_ascii=False, default=str)
    return shown if len(shown) <= _MAX_LENGTH else shown[:_MAX_LENGTH] + "\n... (truncated)"


def scalars(source: Any) -> Iterator[tuple[str, str]]:
    """Yield the entries that are single values, with readable names."""
    if isinstance(source, Mapping):
        for key, value in source.items():
            if isinstance(value, (str, int, float, bool)) and len(str(value)) <= 200:
                yield str(key).replace("_", " "), str(value)
