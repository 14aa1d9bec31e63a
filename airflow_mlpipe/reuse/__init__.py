"""Whether outputs may be reused, decided purely: recipes, fingerprints, differences, decisions."""
