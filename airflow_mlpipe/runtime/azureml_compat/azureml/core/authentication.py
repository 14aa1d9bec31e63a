"""``azureml.core.authentication``: credentials are taken, and not used."""

from __future__ import annotations

from .._stand_in import unknown


class _Authentication:
    """A step reaches no workspace, so that it needs no credentials for one."""

    def __init__(self, *_of_v1: object, **_more_of_v1: object) -> None:
        pass


class AzureCliAuthentication(_Authentication):
    """A login by the command line of Azure."""


class InteractiveLoginAuthentication(_Authentication):
    """A login by a browser."""


class MsiAuthentication(_Authentication):
    """A managed identity."""


class ServicePrincipalAuthentication(_Authentication):
    """A service principal."""


__getattr__ = unknown(__name__)
