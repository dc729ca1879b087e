"""Time window of sloth's SLOs, which is an option of sloth's command line and not in its documents."""

from __future__ import annotations


def configured_sloth_period() -> str | None:
    """Return ``[slo] sloth_period``, the same for gates, sensors, triggers and commands; None if it is not set.

    :raises ValueError: if it is not a fixed duration
    """
    from airflow.sdk import conf

    from airflow_slo_provider.documents.durations import parse_duration

    text = str(conf.get("slo", "sloth_period", fallback="") or "").strip()
    if not text:
        return None
    try:
        is_calendar = parse_duration(text).is_calendar
    except ValueError:
        is_calendar = True
    if is_calendar:
        raise ValueError(f"[slo] sloth_period is {text!r}; write a fixed duration, e.g. 28d")
    return text
