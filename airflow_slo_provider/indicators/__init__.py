"""Sources of indicators: Prometheus, SQL, the ledger. Each implements :class:`IndicatorSource`."""
