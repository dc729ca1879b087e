"""Write a drift report to a file, as HTML or JSON."""

from __future__ import annotations

from typing import Any

from airflow_slo_provider.drift.profiles.artifact_files import write_bytes
from airflow_slo_provider.drift.report.html import to_html
from airflow_slo_provider.drift.verdict.results import DriftReport


def save_report(report: DriftReport, uri: Any) -> str:
    """Write a report, as HTML if the name ends in ``.html``, else as JSON.

    :param report: result of :func:`~airflow_slo_provider.drift.verdict.comparison.compare`
    :param uri: a path, a URI that fsspec opens, or a path object with ``open``
    :return: where it was written
    """
    text = to_html(report) if str(uri).lower().endswith((".html", ".htm")) else report.to_json()
    return write_bytes(uri, text.encode("utf-8", "replace"))
