"""Operator links from a task instance to its results on the SLO pages."""
