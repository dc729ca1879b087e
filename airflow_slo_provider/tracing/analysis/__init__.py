"""Analyse traces: latency by span and model version."""
