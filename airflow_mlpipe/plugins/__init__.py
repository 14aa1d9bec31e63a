"""What is plugged into Airflow itself."""
