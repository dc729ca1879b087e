"""Mask secrets in Airflow's logs, and redact them in texts that are sent elsewhere."""

from __future__ import annotations

from collections.abc import Iterable

from airflow.sdk import log

from airflow_slo_provider.core.redaction import redact

#: Maximum length of a message of a foreign exception.
LIMIT = 1000


def mask(secrets: Iterable[str]) -> None:
    """Register secrets that Airflow masks in the logs of this process.

    :param secrets: the secrets; empty ones are ignored
    """
    for secret in filter(None, secrets):
        log.mask_secret(secret)


async def amask(secrets: Iterable[str]) -> None:
    """Register secrets that Airflow masks in the logs, from a trigger.

    :param secrets: the secrets; empty ones are ignored
    """
    if not hasattr(log, "amask_secret"):  # before Airflow 3.3
        mask(secrets)
        return
    for secret in filter(None, secrets):
        await log.amask_secret(secret)


def masked(text: str) -> str:
    """Redact in a message every secret that Airflow knows and the user info of URLs, then truncate it.

    Airflow masks only its logs, not messages to a chat, an Alertmanager or the ledger.

    :param text: the text, e.g. of a foreign exception
    """
    return redact(str(log.redact(text)), (), limit=LIMIT)
