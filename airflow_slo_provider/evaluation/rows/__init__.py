"""The rows of an evaluation: golden sets, samples, labels, predictions."""
