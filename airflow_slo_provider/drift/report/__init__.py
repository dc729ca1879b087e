"""Reports of a drift comparison: HTML, text, ledger records."""
