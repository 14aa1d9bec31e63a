"""Why a task instance did what it did."""
