"""Steps as pods of a Kubernetes cluster."""
