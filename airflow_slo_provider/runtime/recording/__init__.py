"""Record checks in the ledger, in Airflow's metrics, and for listeners."""
