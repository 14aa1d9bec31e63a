"""Which of the leaves speaks to a driver's service."""

from __future__ import annotations

from typing import Any

from airflow_mlpipe.store.objects.any_driver import AnyDriver
from airflow_mlpipe.store.objects.azure import AzureObjects
from airflow_mlpipe.store.objects.contract import ObjectService
from airflow_mlpipe.store.objects.google import GoogleObjects
from airflow_mlpipe.store.objects.s3 import S3Objects


def object_service(filesystem: Any, folder: str) -> ObjectService:
    """The service behind the driver *filesystem*; below *folder* a file may be written that does not stay."""
    packages = {kind.__module__.partition(".")[0] for kind in type(filesystem).__mro__}
    if "s3fs" in packages:
        return S3Objects(filesystem, folder)
    if "adlfs" in packages:
        return AzureObjects(filesystem)
    if "gcsfs" in packages:
        return GoogleObjects(filesystem)
    return AnyDriver(filesystem)
