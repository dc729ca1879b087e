"""Parameters that a task was given, and that are nothing when it runs.

Airflow resolves ``task.output`` to None where that task has pushed nothing, and a template of nothing is an empty text or "None".
To an operator, None means "not asked for": a guard that somebody has written down would be off, and nobody would know.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any


def given(operator: Any, *names: str) -> frozenset[str]:
    """Return which of these parameters an operator was given, to be kept until it runs.

    :param operator: whose attributes have these names
    """
    # A subclass sets fields of its own after ours.
    return frozenset(name for name in names if not _is_nothing(getattr(operator, name, None)))


def require(operator: Any, names: Collection[str], *, may_be_empty: Collection[str] = ()) -> None:
    """Fail without a retry when one of the parameters that were given is nothing now.

    :param names: what :func:`given` returned
    :param may_be_empty: those of which an empty text says something
    :raises AirflowFailException: naming the parameter
    """
    for name in sorted(names):
        value = getattr(operator, name)
        if _is_nothing(value) and not (value == "" and name in may_be_empty):
            from airflow.sdk.exceptions import AirflowFailException

            raise AirflowFailException(
                f"{name} was given and is {value!r} when the task runs: its XCom is not there, or its template gave nothing. "
                "The task does not go on without it; look at where it comes from"
            )


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value in ("", "None"))
