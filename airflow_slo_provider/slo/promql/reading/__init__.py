"""Determine what a PromQL expression measures."""
