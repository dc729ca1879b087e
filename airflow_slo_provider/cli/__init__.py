"""The commands under ``airflow slo``."""
