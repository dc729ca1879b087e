"""What an SLO is known by, wherever its checks are kept: documents of several teams may use one name."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from airflow_slo_provider.results import CheckResult


class SLOKey(NamedTuple):
    """What an SLO is known by."""

    service: str
    name: str

    @classmethod
    def of(cls, check: CheckResult) -> SLOKey:
        """The SLO of a check; its service is empty where the check names none."""
        service = check.evidence.get("service")
        return cls(service if isinstance(service, str) else "", check.name)
