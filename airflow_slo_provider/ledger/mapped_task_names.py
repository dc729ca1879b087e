"""Display names of checks recorded by mapped tasks: all indices share one name, so the index is added."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.core.slo_key import group_text

if TYPE_CHECKING:
    from airflow_slo_provider.ledger.records import Recorded, RunKey

#: Evidence field of a decision with the rendered ``map_index_template`` of its task.
LABEL = "map_label"
_LONGEST = 100


def index_text(key: RunKey, evidence: Mapping[str, Any] | None = None) -> str:
    """Return ``[3]`` for the index of a mapped task, ``[3 eu]`` if it has a label, an empty text for an unmapped task.

    :param key: the task instance
    :param evidence: evidence of the recorded check
    """
    if key.map_index < 0:
        return ""
    label = (evidence or {}).get(LABEL)
    return f"[{key.map_index} {label[:_LONGEST]}]" if isinstance(label, str) and label else f"[{key.map_index}]"


def shown_name(row: Recorded) -> str:
    """Return the name of a recorded check, with its group, and with the map index if it is named after its mapped task."""
    own = row.result.name == f"{row.key.dag_id}.{row.key.task_id}"
    index = index_text(row.key, row.result.evidence) if own else ""
    return f"{row.result.name}{group_text(row.result.labels)}{index}"
