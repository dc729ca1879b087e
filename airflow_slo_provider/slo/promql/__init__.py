"""Read and write PromQL text."""
