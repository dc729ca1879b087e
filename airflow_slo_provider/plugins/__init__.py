"""Airflow plugins of this provider: the SLO pages in Airflow's UI."""
