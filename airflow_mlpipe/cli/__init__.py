"""The commands below ``airflow mlpipe``."""
