"""HTTP clients of this provider: settings, faults, retries, a blocking and an asynchronous client."""
