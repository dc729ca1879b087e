"""The metrics, by scikit-learn's names."""
