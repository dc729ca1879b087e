"""Move model registry aliases, and record every move."""
