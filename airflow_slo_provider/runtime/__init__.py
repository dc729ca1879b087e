"""What operators, sensors and triggers share. For tasks of your own: :func:`record` puts checks into the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_slo_provider.core.lazy_names import offer

if TYPE_CHECKING:
    from airflow_slo_provider.runtime.recording.checks import record

__all__ = ["record"]

__getattr__ = offer(__name__, {"runtime.recording.checks": "record"})
