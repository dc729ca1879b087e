"""Metrics, named as in scikit-learn."""
