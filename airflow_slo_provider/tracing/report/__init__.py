"""The report of a latency breakdown."""
