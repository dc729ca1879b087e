"""What this provider changed, remembered on the Deployment itself: the reason why a retry changes nothing twice.

The record is an annotation that the same conditional patch writes as the change. The Deployment controller copies it to the
ReplicaSet it makes current, so that it outlives a later ``kubectl rollout undo``, which replaces the Deployment's annotations.
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
#: A Deployment remembers this many changes.
REMEMBERED = 10
#: Bytes that all annotations of an object may have together (apimachinery's ``TotalAnnotationSizeLimitB``).
_ANNOTATION_BYTES = 256 * 1024


@dataclass(frozen=True, kw_only=True)
class Change:
    """One change of a Deployment that was made here.

    :param key: whose change it was: the task instance without its try number
    :param action: :data:`ROLLBACK` or :data:`SET_IMAGE`
    :param at: when (ISO 8601, UTC)
    :param from_revision: the revision it left
    :param to_revision: the revision it went back to, by its number at that time; None for a new one
    :param was: digest of the template it replaced
    :param became: digest of the template it put there
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

    def is_since(self, moment: datetime) -> bool:
        """Whether it was made at or after a moment (aware)."""
        return datetime.fromisoformat(self.at) >= moment


def changes(*annotations: Mapping[str, str]) -> list[Change]:
    """Read the changes that annotations of a Deployment and of its ReplicaSets remember, oldest first, each once.

    What cannot be read is passed over: the annotation is open to everybody.
    """
    found = {change.key: change for one in annotations for change in _read(one.get(ANNOTATION))}
    return sorted(found.values(), key=lambda change: datetime.fromisoformat(change.at))


def with_change(annotations: Mapping[str, str], known: Sequence[Change], change: Change) -> dict[str, str]:
    """Return annotations that also remember one change; older ones are forgotten where there are too many.

    :param annotations: all others
    :param known: the changes remembered so far, oldest first
    """
    others = {key: value for key, value in annotations.items() if key != ANNOTATION}
    room = _ANNOTATION_BYTES - _size(others)
    kept = [*known, change][-REMEMBERED:]
    while len(kept) > 1 and _size({ANNOTATION: _write(kept)}) > room:
        kept = kept[1:]
    return others | {ANNOTATION: _write(kept)}


def _write(kept: Iterable[Change]) -> str:
    return json.dumps([asdict(change) for change in kept], separators=(",", ":"), ensure_ascii=False)


def _read(text: str | None) -> list[Change]:
    try:
        items: Any = strict_json.loads(text or "[]")
    except ValueError:
        return []
    names = {one.name for one in fields(Change)}
    found = []
    for item in items if isinstance(items, list) else []:
        if not isinstance(item, dict) or not names <= item.keys() or not isinstance(item["key"], str):
            continue
        try:
            aware = datetime.fromisoformat(str(item["at"])).tzinfo is not None
        except ValueError:
            continue
        if aware:
            found.append(Change(**{name: item[name] for name in names}))
    return found


def _size(annotations: Mapping[str, str]) -> int:
    return sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())
