"""Write Prometheus rules and Grafana dashboards from SLOs."""
