"""Verdicts of an evaluation. Imported with every DAG file that evaluates a model, so it has no heavy imports."""

from __future__ import annotations

from enum import StrEnum

#: Basis of the decision: the whole interval, or the value alone.
INTERVAL, VALUE = "interval", "value"


class ModelVerdict(StrEnum):
    """Verdict of an evaluation. Only ``pass`` is a pass.

    ``inconclusive``: there are values, but too few rows to decide at the requested confidence. ``unknown``: nothing to judge.
    """

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    UNKNOWN = "unknown"


#: From best to worst: the overall verdict is that of the worst part.
SEVERITY = (
    ModelVerdict.PASS,
    ModelVerdict.WARN,
    ModelVerdict.INCONCLUSIVE,
    ModelVerdict.UNKNOWN,
    ModelVerdict.FAIL,
)


def worst(outcomes: list[ModelVerdict]) -> ModelVerdict:
    """Return the worst outcome; ``unknown`` for an empty list, because nothing was judged."""
    return max(outcomes, key=SEVERITY.index) if outcomes else ModelVerdict.UNKNOWN
