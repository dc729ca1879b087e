"""Reports of an evaluation: HTML, plots, ledger records, gauges."""
