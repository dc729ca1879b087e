"""Sensors that wait for an error budget or for fresh data, features and models."""
