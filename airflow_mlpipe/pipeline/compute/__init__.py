"""Compute targets as Airflow knows them: their connections, and the drivers that run steps there."""
