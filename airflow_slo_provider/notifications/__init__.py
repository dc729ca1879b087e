"""Airflow notifiers for incidents."""
