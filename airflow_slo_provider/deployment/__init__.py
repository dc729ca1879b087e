"""What is deployed, and how it is put back: model registry aliases, Kubernetes Deployments."""
