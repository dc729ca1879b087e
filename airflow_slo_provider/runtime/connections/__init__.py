"""Use Airflow connections as HTTP APIs, databases and webhooks."""
