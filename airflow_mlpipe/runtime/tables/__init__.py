"""How tables are read, narrowed and written; ``runtime.tabular`` is the way in."""
