"""What is kept: outputs, the manifests that make them real, and the leases of those who make them."""
