"""Operators for error-budget gates, freshness, drift, golden sets, latency, deployments, model registries and incidents."""
