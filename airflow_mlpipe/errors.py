"""The exception tree.

::

    MLPipeError
    ├── DefinitionError      a pipeline is written wrongly; known while the DAG is parsed (also a ValueError)
    ├── UnhashableValueError a value cannot take part in a fingerprint (also a TypeError)
    ├── DocumentError        a JSON document is unreadable, of an unknown schema, or has wrong fields
    ├── StoreError           a datastore does not do what was asked of it
    ├── NotFoundError        nothing in the datastore, or in Airflow, has the name that was given
    └── StepError            a step did not succeed
        ├── UserError            the script's own failure: its exit code, a promised output missing
        ├── TargetError          the compute target refused: no interpreter, packages that cannot be installed
        └── InfrastructureError  the machine's failure: node lost, process killed from outside

Every message finishes the sentence: what was wrong, with which value, and what to do. The three
kinds of StepError say whether another try may help: only an InfrastructureError is worth one beyond
the author's ``retries``.
"""

from __future__ import annotations


class MLPipeError(Exception):
    """Base class of everything this package raises on purpose."""


class DefinitionError(MLPipeError, ValueError):
    """A pipeline is written wrongly."""


class UnhashableValueError(MLPipeError, TypeError):
    """A value has no canonical encoding, so it cannot take part in a fingerprint."""


class DocumentError(MLPipeError):
    """A stored JSON document cannot be used as it is."""


class StoreError(MLPipeError):
    """A datastore failed or refused an operation."""


class NotFoundError(MLPipeError):
    """Nothing has the name that somebody asked for."""


class StepError(MLPipeError):
    """A step did not succeed."""


class UserError(StepError):
    """The step's own script or command failed."""


class TargetError(StepError):
    """The compute target cannot run the step as it is described."""


class InfrastructureError(StepError):
    """The step was lost to the machine it ran on; running it again may help."""
