"""Derive drift verdicts from statistics: thresholds, columns, segments, the dataset."""
