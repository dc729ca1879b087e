"""Connection forms of this provider's connection types. Imports no Airflow."""
