"""Airflow connections as HTTP APIs, databases and inputs of checks."""
