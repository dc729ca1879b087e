"""From estimates to verdicts: thresholds, champion, segments."""
