"""What an SLO is known by, wherever its checks are kept: documents of several teams may use one name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from airflow_slo_provider.results import CheckResult


class SLOKey(NamedTuple):
    """What an SLO is known by.

    :param labels: the group that it is judged for, as :func:`labels_text` writes it; empty for the SLO as a whole
    """

    service: str
    name: str
    labels: str = ""

    @classmethod
    def of(cls, check: CheckResult) -> SLOKey:
        """The SLO of a check; its service is empty where the check names none."""
        service = check.evidence.get("service")
        return cls(service if isinstance(service, str) else "", check.name, labels_text(check.labels))


def labels_text(labels: Mapping[str, str] | None) -> str:
    """Write labels as text: the same text for the same labels, in whatever order; empty for none."""
    return json.dumps(dict(labels), sort_keys=True, separators=(",", ":")) if labels else ""
