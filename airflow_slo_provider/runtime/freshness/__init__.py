"""Check freshness on a worker."""
