"""Draw charts and report pages as self-contained HTML and SVG: no scripts, no network requests."""

from __future__ import annotations

from airflow_slo_provider.charts.markup import text
from airflow_slo_provider.charts.report_page import badge, facts, page, section, table

__all__ = ["badge", "facts", "page", "section", "table", "text"]
