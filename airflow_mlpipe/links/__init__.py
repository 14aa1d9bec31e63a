"""Links on a task instance in the web UI."""
