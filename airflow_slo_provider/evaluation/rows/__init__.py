"""Rows of an evaluation: golden sets, samples, labels, predictions."""
