-- The provider's ledger has a database of its own beside Airflow's.
CREATE DATABASE slo_ledger;
