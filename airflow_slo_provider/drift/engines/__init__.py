"""Who counts: this process, a database, Spark."""
