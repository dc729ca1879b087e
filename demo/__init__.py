"""The demo: a real model, a small real model server, and a real Airflow that decides whether the model may go further."""
