"""The fields of our connection types. Imports no Airflow."""
