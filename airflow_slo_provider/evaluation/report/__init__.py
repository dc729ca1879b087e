"""Reports of an evaluation: HTML, JSON, plots, ledger records, gauges."""
