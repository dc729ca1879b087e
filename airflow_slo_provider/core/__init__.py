"""Shared utilities: exact numbers, timestamps, redaction, strict JSON, lazy imports."""
