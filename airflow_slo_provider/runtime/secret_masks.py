"""Secrets that Airflow blanks out of its logs, and texts without them for what is no log."""

from __future__ import annotations

from collections.abc import Iterable

from airflow.sdk import log

from airflow_slo_provider.core.redaction import redact

#: Longest message of somebody else's exception that is told.
LIMIT = 1000


def mask(secrets: Iterable[str]) -> None:
    """Let Airflow blank texts out of the logs of this process."""
    for secret in filter(None, secrets):
        log.mask_secret(secret)


async def amask(secrets: Iterable[str]) -> None:
    """Let Airflow blank texts out of the logs, from a trigger."""
    if not hasattr(log, "amask_secret"):  # before Airflow 3.3
        mask(secrets)
        return
    for secret in filter(None, secrets):
        await log.amask_secret(secret)


def masked(text: str) -> str:
    """Blank out of a message every secret that Airflow knows of and the user info of addresses, and only then cut it.

    Airflow masks its logs. What goes to a chat, an Alertmanager or the ledger is no log.

    :param text: e.g. of an exception that somebody else raised
    """
    return redact(str(log.redact(text)), (), limit=LIMIT)
