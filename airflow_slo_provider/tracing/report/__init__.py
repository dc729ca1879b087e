"""Render the report of a latency breakdown."""
