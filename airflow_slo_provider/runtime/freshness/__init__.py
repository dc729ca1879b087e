"""Measure freshness on a worker."""
