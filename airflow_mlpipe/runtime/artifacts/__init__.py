"""Typed artifacts: values that one step's function returns and another's takes, as files between the two."""
