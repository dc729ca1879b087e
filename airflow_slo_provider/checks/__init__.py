"""Checks that run outside of Airflow: in a pod, in a model server's image, or from a shell."""
