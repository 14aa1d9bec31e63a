"""Hooks: what Airflow asks of connections."""
