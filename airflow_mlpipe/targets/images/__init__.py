"""Images that steps run in: told apart by content, found in engines and registries, built once."""
