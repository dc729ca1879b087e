"""Build the URLs of the SLO pages and of traces."""

from __future__ import annotations

from urllib.parse import quote, urlencode


def page_url(page: str, **query: object) -> str:
    """Return the URL of an SLO page, below the base URL of the Airflow API server.

    :param page: name of the page, e.g. ``run``
    :param query: query parameters of the URL
    """
    from airflow.sdk import conf

    base = (conf.get("api", "base_url", fallback="") or "").rstrip("/")
    return f"{base}/slo/{page}?{urlencode({key: str(value) for key, value in query.items()}, quote_via=quote)}"


def trace_url(trace_id: str) -> str:
    """Return the URL of a trace in the UI of the trace store, from ``[slo] trace_url``.

    :param trace_id: the trace id
    :return: the URL; empty if the option is not set, has no ``{trace_id}`` or is not an http(s) address
    """
    from airflow.sdk import conf

    template = conf.get("slo", "trace_url", fallback="") or ""
    if "{trace_id}" not in template or not template.startswith(("http://", "https://")):
        return ""
    return template.replace("{trace_id}", quote(trace_id, safe=""))
