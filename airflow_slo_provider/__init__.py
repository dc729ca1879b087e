"""Service level objectives for machine-learning systems, as building blocks of Airflow DAGs."""

__version__ = "0.1.0"
