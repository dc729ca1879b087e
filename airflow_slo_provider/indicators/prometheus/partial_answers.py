"""Find keys in an answer that mark it as partial or faulty, at any depth."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

#: Something is missing: ``isPartial`` (VictoriaMetrics), ``resultsLimited`` (M3), ``truncated``, ... Only false, and an empty
#: list or object, say that nothing is.
_LACKS = re.compile(r"partial|(?:in|non|not|un)[_-]?complete|non[_-]?exhaustive|truncated|(?<!un)limited", re.IGNORECASE)
#: Everything is there, and only true says so: ``exhaustive``, ``isComplete``, ...
_WHOLE = re.compile(r"(?:complete|exhaustive)$", re.IGNORECASE)
#: Something went wrong: ``warnings``, ``errorType``, ``lastError``, ...
_WRONG = re.compile(r"(?:error|warning)s?(?:[_-]?(?:type|message|code))?$", re.IGNORECASE)
#: What a series is made of: labels, which may have any name, and numbers.
_SERIES = frozenset({"metric", "value", "values", "histogram", "histograms"})


def mark(envelope: Mapping[str, Any]) -> tuple[str, Any] | None:
    """Return the first key, with its value, that calls an answer partial or faulty; None where there is none.

    The list of warnings beside ``data`` is left out: the caller of the query handles it.
    """
    found: Iterator[tuple[str, Any]] = (
        (key, value) for part in _objects(envelope) for key, value in part.items() if _is_mark(key, value)
    )
    return next(found, None)


def _is_mark(key: str, value: Any) -> bool:
    empty = value is False or value in ([], {})
    if _LACKS.search(key):
        return not empty
    if _WHOLE.search(key):
        return value is not True
    return not empty and value not in (None, "", 0) and _WRONG.search(key) is not None


def _objects(envelope: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """All objects of an answer but labels and numbers, which are most of it and are not walked through."""
    stack: list[Any] = [{key: value for key, value in envelope.items() if key not in ("data", "warnings")}]
    data = envelope.get("data")
    if isinstance(data, Mapping):  # elsewhere it is a list of names or of labels
        result = data.get("result")
        series = result if isinstance(result, list) else []
        stack.append({key: value for key, value in data.items() if key != "result" or value is not series})
        stack += [
            {key: value for key, value in one.items() if key not in _SERIES}
            for one in series
            if isinstance(one, dict) and not one.keys() <= _SERIES
        ]
    while stack:
        part = stack.pop()
        if isinstance(part, Mapping):
            yield part
            part = part.values()
        stack += [one for one in part if isinstance(one, dict | list)]
