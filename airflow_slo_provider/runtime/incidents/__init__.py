"""Incidents in Airflow: the current incident, its measurements, steps and post-mortem data."""
