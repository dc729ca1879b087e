"""A task that records checks as a gate does, so that the SLO pages show a real run."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import BaseOperator, dag

from airflow_slo_provider.links.slo import ReportLink, SLOLink, TraceLink
from airflow_slo_provider.results import CheckResult
from airflow_slo_provider.runtime.recording.checks import record


class RecordChecks(BaseOperator):
    """Records an SLO and a check with a report."""

    template_fields = ("report",)
    operator_extra_links = (SLOLink(), ReportLink(), TraceLink())

    def __init__(self, *, report: str, **kwargs) -> None:
        super().__init__(**kwargs)
        self.report = report

    def execute(self, context) -> None:
        now = datetime.now(UTC)
        slo = {"status": "HEALTHY", "service": "shop", "window": "30d", "remaining": 0.7, "burn_rates": {"1h": 0.2}}
        record(
            [
                CheckResult(
                    kind="slo",
                    name="page-live",
                    verdict="pass",
                    value=0.9997,
                    unit="ratio",
                    target=0.999,
                    checked_at=now,
                    evidence=slo,
                ),
                CheckResult(
                    kind="drift",
                    name="page-live-drift",
                    verdict="pass",
                    value=0.01,
                    checked_at=now,
                    evidence={"report_uri": self.report},
                ),
            ],
            context,
        )


@dag(schedule=None, tags=["e2e"], params={"report": ""})
def e2e_slo_pages():
    RecordChecks(task_id="record", report="{{ params.report }}")


e2e_slo_pages()
