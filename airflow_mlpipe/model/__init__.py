"""What a DAG author says. Frozen values, checked when they are written, free of Airflow."""
