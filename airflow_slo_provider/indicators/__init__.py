"""Where an indicator's numbers come from: Prometheus, SQL, the ledger. Each implements :class:`IndicatorSource`."""
