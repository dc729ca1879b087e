"""Sources of freshness timestamps: HTTP APIs, files, databases, Prometheus, Kubernetes."""
