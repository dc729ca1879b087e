"""Service level objectives for machine-learning systems, as building blocks of Airflow DAGs."""

from airflow_slo_provider.core.moved_modules import install as _install

__version__ = "0.1.0"

_install()
