"""Reports of a comparison: HTML, text, ledger records."""
