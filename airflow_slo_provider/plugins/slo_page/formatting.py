"""Jinja filters that format numbers, durations and times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from airflow_slo_provider.charts.markup import Html, tag
from airflow_slo_provider.charts.report_page import SIGNS, TONES
from airflow_slo_provider.core import duration_text, exact_numbers
from airflow_slo_provider.core.slo_key import SLOKey
from airflow_slo_provider.plugins.slo_page import safe_evidence

DASH = "–"
#: No-break space between a number and its unit.
NO_BREAK_SPACE = "\u00a0"


def format_percent(share: float | None, digits: int = 3) -> str:
    """Format a share as per cent, rounded down, so that 99.9996 % is not shown as 100 %. Trailing zeros are dropped."""
    if share is None:
        return DASH
    return exact_numbers.percent(float(share), digits=digits).replace(" ", NO_BREAK_SPACE)


def format_budget(share: float | None) -> str:
    """Format the remaining budget with one digit, as messages and `airflow slo status` do."""
    return format_percent(share, 1)


def format_spent(share: float | None) -> str:
    """Format the spent budget with one digit, rounded up."""
    return DASH if share is None else exact_numbers.percent(float(share), up=True).replace(" ", NO_BREAK_SPACE)


def format_duration(value: float | None) -> str:
    """Format a duration in seconds."""
    if value is None:
        return DASH
    if 0 < abs(value) < 1:
        return f"{value * 1000:.3g}{NO_BREAK_SPACE}ms"
    if abs(value) < 60 and value != int(value):
        return f"{value:.3g}s"
    try:
        return duration_text.format_duration(timedelta(seconds=value), compact=True).replace(" ", NO_BREAK_SPACE)
    except OverflowError:
        return "for ever"


def format_number(value: float | None, digits: int = 4) -> str:
    """Format a number with ``digits`` significant digits."""
    if value is None:
        return DASH
    return f"{value:,.0f}" if value == int(value) and abs(value) < 1e15 else f"{value:.{digits}g}"


def format_value(value: float | None, unit: str | None) -> str:
    """Format a measured value with its unit."""
    if value is None:
        return DASH
    if unit == "ratio":
        return format_percent(value, 4)
    if unit in ("seconds", "s"):
        return format_duration(value)
    return f"{format_number(value)} {unit}" if unit else format_number(value)


def format_rate(value: float | None) -> str:
    """Format a burn rate."""
    return DASH if value is None else f"{value:.2f}"


def format_timestamp(when: datetime | None) -> Html:
    """Format a timestamp in UTC."""
    if when is None:
        return Html(DASH)
    return tag("time", _minute(when), datetime=when.astimezone(UTC).isoformat(timespec="seconds"))


def format_age(when: datetime | None, now: datetime) -> Html:
    """Format how long ago a timestamp was, with the timestamp itself as the title."""
    if when is None:
        return Html(DASH)
    age = (now - when).total_seconds()
    text = "just now" if 0 <= age < 60 else f"{_format_largest_unit(age)} ago" if age >= 0 else f"in {_format_largest_unit(-age)}"
    return tag("time", text, datetime=when.astimezone(UTC).isoformat(timespec="seconds"), title=_minute(when))


def _minute(when: datetime) -> str:
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _format_largest_unit(age: float) -> str:
    return duration_text.format_duration(timedelta(seconds=int(age)), most=1).replace(" ", NO_BREAK_SPACE)


def color_class(verdict: Any) -> str:
    """Return the color class of a verdict or status."""
    return TONES.get(SIGNS.get(str(verdict), ""), "")


def check_status(row: Any) -> str:
    """Return the status in a check's evidence, else its verdict."""
    return safe_evidence.text(row.result.evidence, "status") or str(row.result.verdict.value)


def decision_outcome(row: Any) -> str:
    """Return the outcome in a decision's evidence, else its verdict."""
    return safe_evidence.text(row.result.evidence, "outcome") or str(row.result.verdict.value)


def quote_url_part(value: Any) -> str:
    """Quote a value as one part of a URL: a path segment or a query value."""
    # Browsers resolve a segment of dots, quoted or not, as the current or parent directory.
    text = quote(str(value), safe="")
    return text.replace(".", "%2E") if set(text) <= {"."} else text


def slo_url(row: Any) -> str:
    """Return the URL of the page of a check's SLO. An empty service is included, because the name alone may be ambiguous."""
    slo = SLOKey.of(row.result)
    group = f"&group={quote_url_part(slo.labels)}" if slo.labels else ""
    return f"slo?name={quote_url_part(slo.name)}&service={quote_url_part(slo.service)}{group}"


def task_url(key: Any) -> str:
    """Return the URL of Airflow's page of a task instance, relative to an SLO page."""
    mapped = f"/mapped/{key.map_index}" if key.map_index >= 0 else ""
    return f"../dags/{quote_url_part(key.dag_id)}/runs/{quote_url_part(key.run_id)}/tasks/{quote_url_part(key.task_id)}{mapped}"
