"""What developers run: a real Airflow on this machine, the demo, the web UI, and reports of tests."""
