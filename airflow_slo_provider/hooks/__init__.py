"""Airflow hooks for Prometheus, Pushgateways, model registries and trace stores."""
