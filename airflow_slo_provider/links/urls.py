"""Addresses of the SLO pages and of traces."""

from __future__ import annotations

from urllib.parse import quote, urlencode


def page_url(page: str, **query: object) -> str:
    """The address of one of the SLO pages, below Airflow's own base URL.

    :param page: e.g. ``run``
    """
    from airflow.sdk import conf

    base = (conf.get("api", "base_url", fallback="") or "").rstrip("/")
    return f"{base}/slo/{page}?{urlencode({key: str(value) for key, value in query.items()}, quote_via=quote)}"


def trace_url(trace_id: str) -> str:
    """The address of a trace in the UI of the trace store; empty without ``[slo] trace_url``, or for what is no http address."""
    from airflow.sdk import conf

    form = conf.get("slo", "trace_url", fallback="") or ""
    if "{trace_id}" not in form or not form.startswith(("http://", "https://")):
        return ""
    return form.replace("{trace_id}", quote(trace_id, safe=""))
