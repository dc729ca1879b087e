"""Checks that run outside of Airflow: in a pod, in a model server's own image, on a shell."""
