"""Airflow connections as credentials for datastores."""
