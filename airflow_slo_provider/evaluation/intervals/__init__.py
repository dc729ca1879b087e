"""Confidence intervals: closed forms and bootstrap."""
