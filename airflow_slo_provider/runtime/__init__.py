"""Code shared by operators, sensors and triggers. :func:`record` writes the checks of your own tasks to the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_slo_provider.core.lazy_names import offer

if TYPE_CHECKING:
    from airflow_slo_provider.runtime.recording.checks import record

__all__ = ["record"]

__getattr__ = offer(__name__, {"runtime.recording.checks": "record"})
