"""What everything may use: exact numbers, timestamps, redaction, strict JSON, names that load when they are used."""
