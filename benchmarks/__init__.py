"""Benchmarks: what a step costs beside Airflow's own tasks, each measured against them in the same run."""
