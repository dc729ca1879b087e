"""The one way out to the network: settings, faults, retries, a blocking client and its asynchronous twin."""
