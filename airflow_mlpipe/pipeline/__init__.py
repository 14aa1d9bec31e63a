"""What the Airflow roles have in common: the pipeline as mlpipe sees it, and one run of a step in it."""
