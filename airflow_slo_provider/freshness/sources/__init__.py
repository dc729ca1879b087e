"""Where the age of something can be queried: APIs, files, databases, Prometheus, Kubernetes."""
