"""The carrier: what runs a step on a machine that shares nothing with the worker but the datastore.

It finds a parcel (:mod:`airflow_mlpipe.targets.parcel`), fetches the code and the inputs that a
:class:`~airflow_mlpipe.records.Carriage` lists, lets the supervisor run the step, and leaves in the
datastore what the step made: outputs, kept files, records, and last of all ``result.json``. No result,
nothing happened.

Standard library only, and fsspec with its driver for URLs that are not ``file://``.
"""
