"""Statistics of two profiles: PSI, KS, distances, and how sure they are."""
