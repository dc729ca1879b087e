"""Sensors, each family in a module of its own."""
