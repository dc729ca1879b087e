"""Measure indicators on a Prometheus server."""
