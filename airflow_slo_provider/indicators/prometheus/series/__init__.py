"""Which series an answer has, and which are missing."""
