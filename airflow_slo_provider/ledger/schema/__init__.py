"""The ledger's tables, and how they came to be."""
