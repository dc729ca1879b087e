"""Read YAML documents: exact numbers, durations, and every error with its line and a message."""
