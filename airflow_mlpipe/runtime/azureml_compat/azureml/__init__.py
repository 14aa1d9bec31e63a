"""The stand-in of airflow_mlpipe for Azure ML's SDK v1."""

from __future__ import annotations

from ._stand_in import refuse_unknown_modules, submodule

refuse_unknown_modules()
__getattr__ = submodule(__name__)
