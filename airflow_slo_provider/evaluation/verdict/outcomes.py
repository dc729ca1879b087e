"""The words of an evaluation's verdict. Read with every DAG file that evaluates a model: nothing heavy here."""

from __future__ import annotations

from enum import StrEnum

#: What decides: the whole interval, or the value alone.
INTERVAL, VALUE = "interval", "value"


class Outcome(StrEnum):
    """How an evaluation ended. Only ``pass`` is a pass.

    ``inconclusive``: there are numbers, and too few rows to decide at the asked confidence. ``unknown``: nothing to judge.
    """

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    UNKNOWN = "unknown"


#: From the harmless to the worst: the whole is judged as its worst part.
SEVERITY = (Outcome.PASS, Outcome.WARN, Outcome.INCONCLUSIVE, Outcome.UNKNOWN, Outcome.FAIL)


def worst(outcomes: list[Outcome]) -> Outcome:
    """Return the worst outcome; ``unknown`` when there is none, because nothing was judged."""
    return max(outcomes, key=SEVERITY.index) if outcomes else Outcome.UNKNOWN
