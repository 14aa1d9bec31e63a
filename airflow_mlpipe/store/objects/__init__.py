"""What the store asks of an object service beyond what drivers agree on: one leaf for each service.

Above all single objects that change only as long as nobody else has changed them. That decides between two
workers, for a lease and for a seal. S3, Azure Blob and Google Cloud Storage check such a condition at the
moment of the change; with anything else one can only look before.
"""
