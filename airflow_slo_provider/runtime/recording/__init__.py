"""Record checks: in the ledger, in Airflow's metrics, for listeners."""
