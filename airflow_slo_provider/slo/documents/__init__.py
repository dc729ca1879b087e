"""Read SLO documents: OpenSLO, sloth and slo-generator."""
