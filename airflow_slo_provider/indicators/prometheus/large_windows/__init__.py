"""Windows that are too large for the server: measure them in parts, and advise what to do about an error."""
