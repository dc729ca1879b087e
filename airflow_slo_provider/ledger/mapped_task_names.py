"""The names of checks that mapped tasks record: all indices share one name, and people want to know which it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_slo_provider.ledger.records import Recorded, RunKey

#: What a task's ``map_index_template`` gave, in the evidence of its decision.
LABEL = "map_label"
_LONGEST = 100


def index_text(key: RunKey, evidence: Mapping[str, Any] | None = None) -> str:
    """Return ``[3]`` for the index of a mapped task, ``[3 eu]`` where it has a label; nothing for a task that is not mapped.

    :param key: the task instance
    :param evidence: of what it recorded
    """
    if key.map_index < 0:
        return ""
    label = (evidence or {}).get(LABEL)
    return f"[{key.map_index} {label[:_LONGEST]}]" if isinstance(label, str) and label else f"[{key.map_index}]"


def shown_name(row: Recorded) -> str:
    """Return the name of a recorded check, with the index of the mapped task where it is that task's own."""
    own = row.result.name == f"{row.key.dag_id}.{row.key.task_id}"
    return row.result.name + (index_text(row.key, row.result.evidence) if own else "")
