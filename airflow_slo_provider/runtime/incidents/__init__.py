"""Incidents in Airflow: the current one, its measurements and steps."""
