"""Running steps on a machine that is reached by SSH."""
