"""Measure indicators in a SQL database."""
