"""The way out to the network: caches, retries."""
