"""Identify an SLO wherever its checks are stored; documents of several teams may use the same name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from airflow_slo_provider.results import CheckResult


class SLOKey(NamedTuple):
    """The identity of an SLO.

    :param service: the service; empty if the check names none
    :param name: name of the SLO
    :param labels: the group that it is evaluated for, as :func:`labels_text` writes it; empty for the SLO as a whole
    """

    service: str
    name: str
    labels: str = ""

    @classmethod
    def of(cls, check: CheckResult) -> SLOKey:
        """Return the key of a check's SLO; the service is empty if the check names none."""
        service = check.evidence.get("service")
        return cls(service if isinstance(service, str) else "", check.name, labels_text(check.labels))


def labels_text(labels: Mapping[str, str] | None) -> str:
    """Serialise labels independently of their order; an empty text for no labels."""
    return json.dumps(dict(labels), sort_keys=True, separators=(",", ":")) if labels else ""
