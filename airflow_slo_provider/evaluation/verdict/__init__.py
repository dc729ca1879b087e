"""Derive verdicts from estimates: thresholds, comparison with the champion, segments."""
