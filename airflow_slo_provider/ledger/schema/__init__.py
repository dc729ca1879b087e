"""Tables of the ledger, and schema migrations."""
