"""Functions as steps: what they ask for, how they are shipped, and what they are called with."""
