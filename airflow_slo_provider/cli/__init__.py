"""Commands of the command-line group ``airflow slo``."""
