"""Profiles of datasets: counts that can be merged, saved and compared."""

from __future__ import annotations

from airflow_slo_provider.core.lazy_names import offer

__getattr__ = offer(__name__, {"drift.profiles.dataset_profile": "DatasetProfile load_profile"})
