"""Record this provider's changes in an annotation of the Deployment, so that a retry does not repeat a change.

The annotation is written by the same conditional patch as the change. The Deployment controller copies it to the new current
ReplicaSet, so that it survives a later ``kubectl rollout undo``, which replaces the Deployment's annotations.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

from airflow_slo_provider.core import strict_json

ANNOTATION = "airflow-slo/changes"
#: Actions of a change.
ROLLBACK, SET_IMAGE = "rollback", "set_image"
#: Maximum number of changes recorded on a Deployment.
MAX_CHANGES = 10
#: Maximum size of all annotations of an object in bytes (apimachinery's ``TotalAnnotationSizeLimitB``).
_ANNOTATION_BYTES = 256 * 1024


@dataclass(frozen=True, kw_only=True)
class RecordedChange:
    """One change of a Deployment made by this provider.

    :param key: key of the change: the task instance without its try number
    :param action: :data:`ROLLBACK` or :data:`SET_IMAGE`
    :param at: time of the change (ISO 8601, UTC)
    :param from_revision: the replaced revision
    :param to_revision: the restored revision, by its number at that time; None for a new one
    :param was: digest of the template before
    :param became: digest of the template after
    """

    key: str
    action: str
    at: str
    from_revision: int | None
    to_revision: int | None
    was: str
    became: str

    def __str__(self) -> str:
        if self.action == ROLLBACK:
            return f"rolled it back from revision {self.from_revision} to {self.to_revision}"
        return f"set its image, leaving revision {self.from_revision}"

    def is_at_or_after(self, timestamp: datetime) -> bool:
        """Whether it was made at or after a time (aware)."""
        return datetime.fromisoformat(self.at) >= timestamp


def read_changes(*annotations: Mapping[str, str]) -> list[RecordedChange]:
    """Read the changes recorded in annotations of a Deployment and its ReplicaSets, oldest first, without duplicates.

    Unreadable records are skipped, since anybody can edit the annotation.
    """
    found = {change.key: change for item in annotations for change in _read(item.get(ANNOTATION))}
    return sorted(found.values(), key=lambda change: datetime.fromisoformat(change.at))


def with_change(annotations: Mapping[str, str], known: Sequence[RecordedChange], change: RecordedChange) -> dict[str, str]:
    """Return annotations with one change added; the oldest changes are dropped if there are too many.

    :param annotations: the other annotations
    :param known: the changes recorded so far, oldest first
    :param change: the change to add
    """
    others = {key: value for key, value in annotations.items() if key != ANNOTATION}
    room = _ANNOTATION_BYTES - _size(others)
    kept = [*known, change][-MAX_CHANGES:]
    while len(kept) > 1 and _size({ANNOTATION: _write(kept)}) > room:
        kept = kept[1:]
    return others | {ANNOTATION: _write(kept)}


def _write(kept: Iterable[RecordedChange]) -> str:
    return json.dumps([asdict(change) for change in kept], separators=(",", ":"), ensure_ascii=False)


def _read(text: str | None) -> list[RecordedChange]:
    try:
        items: Any = strict_json.loads(text or "[]")
    except ValueError:
        return []
    names = {item.name for item in fields(RecordedChange)}
    found = []
    for item in items if isinstance(items, list) else []:
        if not isinstance(item, dict) or not names <= item.keys() or not isinstance(item["key"], str):
            continue
        try:
            aware = datetime.fromisoformat(str(item["at"])).tzinfo is not None
        except ValueError:
            continue
        if aware:
            found.append(RecordedChange(**{name: item[name] for name in names}))
    return found


def _size(annotations: Mapping[str, str]) -> int:
    return sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())
