"""Profiles of datasets: counts that can be merged, saved and compared."""
