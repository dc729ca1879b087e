"""From statistics to verdicts: thresholds, columns, segments, the dataset."""
