"""Keeping secrets out of what is told of an exception somebody else raised."""

from __future__ import annotations

from airflow_slo_provider.core.redaction import redact

#: Longest message that is told.
LIMIT = 1000


def masked(text: str) -> str:
    """Blank out of a message every secret that Airflow knows of and the user info of addresses, and only then cut it.

    Airflow masks its logs. What goes to a chat, an Alertmanager or the ledger is no log.
    """
    from airflow.sdk.log import redact as known

    return redact(str(known(text)), (), limit=LIMIT)
