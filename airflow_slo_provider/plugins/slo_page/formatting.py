"""Numbers and times in words, for the templates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from airflow_slo_provider.charts.markup import Html, tag
from airflow_slo_provider.charts.report_page import SIGNS, TONES
from airflow_slo_provider.core import exact_numbers
from airflow_slo_provider.core.duration_text import in_words
from airflow_slo_provider.core.slo_key import SLOKey
from airflow_slo_provider.plugins.slo_page import safe_evidence as evidence

DASH = "–"
#: A space that keeps a number and its unit on one line.
NARROW = "\u00a0"


def percent(share: float | None, digits: int = 3) -> str:
    """A share as per cent, rounded down: 99.9996 % is not 100 %. Trailing zeros are dropped."""
    if share is None:
        return DASH
    return exact_numbers.percent(float(share), digits=digits).replace(" ", NARROW)


def budget(share: float | None) -> str:
    """What is left of a budget, with one digit, as messages and `airflow slo status` say it."""
    return percent(share, 1)


def spent(share: float | None) -> str:
    """What was spent of a budget, with one digit, rounded up."""
    return DASH if share is None else exact_numbers.percent(float(share), up=True).replace(" ", NARROW)


def seconds(value: float | None) -> str:
    """A length of time."""
    if value is None:
        return DASH
    if 0 < abs(value) < 1:
        return f"{value * 1000:.3g}{NARROW}ms"
    if abs(value) < 60 and value != int(value):
        return f"{value:.3g}s"
    try:
        return in_words(timedelta(seconds=value), compact=True).replace(" ", NARROW)
    except OverflowError:
        return "for ever"


def number(value: float | None, digits: int = 4) -> str:
    """A number with so many significant digits."""
    if value is None:
        return DASH
    return f"{value:,.0f}" if value == int(value) and abs(value) < 1e15 else f"{value:.{digits}g}"


def measured(value: float | None, unit: str | None) -> str:
    """A measured value with its unit."""
    if value is None:
        return DASH
    if unit == "ratio":
        return percent(value, 4)
    if unit in ("seconds", "s"):
        return seconds(value)
    return f"{number(value)} {unit}" if unit else number(value)


def rate(value: float | None) -> str:
    """A burn rate."""
    return DASH if value is None else f"{value:.2f}"


def moment(when: datetime | None) -> Html:
    """Write a timestamp, in UTC."""
    if when is None:
        return Html(DASH)
    return tag("time", _minute(when), datetime=when.astimezone(UTC).isoformat(timespec="seconds"))


def ago(when: datetime | None, now: datetime) -> Html:
    """Write how long ago something was, with the timestamp itself as a title."""
    if when is None:
        return Html(DASH)
    gone = (now - when).total_seconds()
    said = "just now" if 0 <= gone < 60 else f"{_rough(gone)} ago" if gone >= 0 else f"in {_rough(-gone)}"
    return tag("time", said, datetime=when.astimezone(UTC).isoformat(timespec="seconds"), title=_minute(when))


def _minute(when: datetime) -> str:
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _rough(gone: float) -> str:
    return in_words(timedelta(seconds=int(gone)), most=1).replace(" ", NARROW)


def tone(word: Any) -> str:
    """The class of a verdict's or status's colour."""
    return TONES.get(SIGNS.get(str(word), ""), "")


def state(row: Any) -> str:
    """How a recorded check ended: the status that its evidence names, else its verdict."""
    return evidence.text(row.result.evidence, "status") or str(row.result.verdict.value)


def outcome(row: Any) -> str:
    """What a recorded decision was, else its verdict."""
    return evidence.text(row.result.evidence, "outcome") or str(row.result.verdict.value)


def part(value: Any) -> str:
    """A value as one part of a URL: a segment of a path, or a value of a query."""
    # A browser takes a segment of dots, quoted or not, for a step upwards.
    text = quote(str(value), safe="")
    return text.replace(".", "%2E") if set(text) <= {"."} else text


def slo_url(row: Any) -> str:
    """The page of the SLO that a check is about. An empty service is said too: a name may also be one of a service's."""
    slo = SLOKey.of(row.result)
    return f"slo?name={part(slo.name)}&service={part(slo.service)}"


def task_url(key: Any) -> str:
    """Airflow's own page of a task instance, seen from one of ours."""
    mapped = f"/mapped/{key.map_index}" if key.map_index >= 0 else ""
    return f"../dags/{part(key.dag_id)}/runs/{part(key.run_id)}/tasks/{part(key.task_id)}{mapped}"
