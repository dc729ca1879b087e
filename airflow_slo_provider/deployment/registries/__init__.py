"""Model registries: aliases, their history, and who moved them."""
