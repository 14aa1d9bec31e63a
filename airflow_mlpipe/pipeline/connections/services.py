"""How each service's connections of Airflow become options of its fsspec driver."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.pipeline.connections.fields import extra_of

log = logging.getLogger(__name__)

Options = dict[str, Any]

# The names that drivers have for one service.
PROTOCOLS = {
    "s3": ("s3", "s3a"),
    "az": ("az", "abfs", "abfss"),
    "gs": ("gs", "gcs"),
    "sftp": ("sftp", "ssh"),
    "http": ("http", "https"),
    "file": ("file", "local"),
}
_SERVICES = {protocol: service for service, protocols in PROTOCOLS.items() for protocol in protocols}

_AZURE_HOSTS = (".blob.core.windows.net", ".dfs.core.windows.net")
# What an http connection has in its extra besides headers.
_NO_HEADERS = frozenset(
    {"allow_redirects", "cert", "check_response", "max_redirects", "proxies", "proxy", "stream", "timeout"}
    | {"trust_env", "verify"}
)


def service_of(url: str) -> str:
    """The service behind *url*: one of PROTOCOLS, or the URL's own protocol; ``file`` for a path."""
    protocol = url.partition("://")[0] if "://" in url else "file"
    return _SERVICES.get(protocol, protocol)


def comparable(url: str) -> str:
    """*url* in one spelling of those that a service has for one place, without a slash at its end."""
    service, rest = service_of(url), (url.partition("://")[2] if "://" in url else url).rstrip("/")
    if service == "az":
        container, separator, path = rest.partition("/")
        rest = f"{container.partition('@')[0]}{separator}{path}"
    return f"{service}://{rest}"


def lies_in(url: str, folder: str) -> bool:
    """Whether *url* is *folder*, or lies below it."""
    return f"{comparable(url)}/".startswith(f"{comparable(folder)}/")


def _aws(connection: Any) -> Options:
    extra = extra_of(connection)
    session = extra.get("session_kwargs") or {}
    s3 = (extra.get("service_config") or {}).get("s3") or {}
    given = {
        "key": connection.login or extra.get("aws_access_key_id") or session.get("aws_access_key_id"),
        "secret": connection.password
        or extra.get("aws_secret_access_key")
        or session.get("aws_secret_access_key"),
        "token": extra.get("aws_session_token") or session.get("aws_session_token"),
        "profile": extra.get("profile_name") or session.get("profile_name"),
    }
    if extra.get("role_arn") or extra.get("assume_role_method"):
        given = _assumed_role(connection)
    region = extra.get("region_name") or session.get("region_name")
    config = dict(extra.get("config_kwargs") or {})
    return _said(
        **given,
        anon=config.pop("signature_version", None) == "unsigned" or None,
        endpoint_url=s3.get("endpoint_url") or extra.get("endpoint_url"),
        client_kwargs=_said(region_name=region, verify=extra.get("verify")),
        config_kwargs=config,
    )


def _assumed_role(connection: Any) -> Options:
    """Credentials for a limited time, for which AWS is asked; Airflow's own provider knows all the ways."""
    try:
        from airflow.providers.amazon.aws.hooks.base_aws import (  # type: ignore[import-not-found,unused-ignore]
            AwsGenericHook,
        )
    except ImportError as error:
        raise StoreError(
            f"connection {connection.conn_id!r} assumes a role, for which AWS has to be asked; "
            "pip install apache-airflow-providers-amazon"
        ) from error
    try:
        found = AwsGenericHook(aws_conn_id=connection.conn_id, client_type="s3").get_credentials()
    except Exception as error:  # whatever the client library raises
        raise StoreError(
            f"connection {connection.conn_id!r} cannot assume its role: {error}; check the role and who may "
            "assume it"
        ) from error
    return {"key": found.access_key, "secret": found.secret_key, "token": found.token}


def _azure(connection: Any) -> Options:
    extra = extra_of(connection)
    if connection_string := extra.get("connection_string"):
        return {"connection_string": connection_string}
    tenant = extra.get("tenant_id") or extra.get("tenant")
    host = connection.host or ""
    address = urlsplit(host if "://" in host else f"//{host}").hostname or ""
    options = _said(
        account_name=address.partition(".")[0] or connection.login,
        account_host=address if "." in address and not address.endswith(_AZURE_HOSTS) else None,
    )
    if tenant:
        return {
            **options,
            "tenant_id": tenant,
            "client_id": connection.login,
            "client_secret": connection.password,
        }
    if sas := extra.get("sas_token"):
        # It may stand alone, or at the end of the account's URL.
        return {**options, "sas_token": sas.partition("?")[2] or sas}
    key = extra.get("shared_access_key") or connection.password or extra.get("account_key")
    return {**options, **({"account_key": key} if key else {"anon": False})}


def _google(connection: Any) -> Options:
    extra = extra_of(connection)
    for name in ("impersonation_chain", "key_secret_name", "idp_issuer_url"):
        if extra.get(name):
            raise StoreError(
                f"connection {connection.conn_id!r} has {name}, of which the driver of gs:// knows nothing; "
                "use keyfile_dict, key_path or the credentials of the machine"
            )
    project = _said(project=extra.get("project"))
    if extra.get("is_anonymous"):
        return {**project, "token": "anon"}
    token = extra.get("keyfile_dict") or extra.get("key_path") or extra.get("credential_config_file")
    return {**project, "token": _keyfile(token) or "google_default"}


def _keyfile(text: Any) -> Any:
    """A key as the object that it is, when it is given as JSON; the path of one as it is."""
    if not isinstance(text, str) or not text.lstrip().startswith("{"):
        return text
    try:
        return json.loads(text)
    except ValueError:
        # Not "from": the error holds the key.
        raise StoreError("the key of a Google service account is not JSON; paste its whole file") from None


def _sftp(connection: Any) -> Options:
    extra = extra_of(connection)
    if extra.get("private_key"):
        raise StoreError(
            f"connection {connection.conn_id!r} has private_key, which the driver of sftp:// does not take; "
            "put the key into a file of each worker, and name it as key_file"
        )
    if extra.get("host_key"):
        log.warning(
            "The driver of sftp:// does not check the host key that connection %r has", connection.conn_id
        )
    return _said(
        username=connection.login,
        password=connection.password,
        key_filename=extra.get("key_file"),
        passphrase=extra.get("private_key_passphrase"),
    )


def _http(connection: Any) -> Options:
    headers = {name: value for name, value in extra_of(connection).items() if name not in _NO_HEADERS}
    return _with_headers({**_basic(connection.login, connection.password), **headers})


def _own_s3(connection: Any, endpoint: str, region: str) -> Options:
    return _said(
        key=connection.login,
        secret=connection.password,
        endpoint_url=endpoint,
        client_kwargs=_said(region_name=region),
    )


def _own_azure(connection: Any, endpoint: str, region: str) -> Options:
    name, key = connection.login, connection.password
    if endpoint and key:
        # The only way to name a whole endpoint: other options make an https:// address of a host.
        blob = endpoint.rstrip("/")
        return {"connection_string": f"AccountName={name};AccountKey={key};BlobEndpoint={blob};"}
    host = urlsplit(endpoint).netloc or endpoint
    return _said(account_name=name, account_key=key, account_host=host, anon=None if key else False)


def _own_google(connection: Any, endpoint: str, region: str) -> Options:
    return _said(token=_keyfile(connection.password) or "google_default", endpoint_url=endpoint)


def _own_sftp(connection: Any, endpoint: str, region: str) -> Options:
    return _said(username=connection.login, password=connection.password)


def _own_http(connection: Any, endpoint: str, region: str) -> Options:
    return _with_headers(_basic(connection.login, connection.password))


def _basic(login: str | None, password: str | None) -> dict[str, str]:
    if not login:
        return {}
    pair = base64.b64encode(f"{login}:{password or ''}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


def _with_headers(headers: Mapping[str, str]) -> Options:
    return {"client_kwargs": {"headers": dict(headers)}} if headers else {}


def _said(**options: Any) -> Options:
    """*options* without those of which nothing is said."""
    return {name: value for name, value in options.items() if value not in (None, "", {})}


# By the connection's type: the service, and its options.
BY_TYPE: Mapping[str, tuple[str, Callable[[Any], Options]]] = {
    "aws": ("s3", _aws),
    "wasb": ("az", _azure),
    "adls": ("az", _azure),
    "google_cloud_platform": ("gs", _google),
    "sftp": ("sftp", _sftp),
    "ssh": ("sftp", _sftp),
    "http": ("http", _http),
}
# By service: the options of a connection of our own type, of its endpoint and its region.
OWN: Mapping[str, Callable[[Any, str, str], Options]] = {
    "s3": _own_s3,
    "az": _own_azure,
    "gs": _own_google,
    "sftp": _own_sftp,
    "http": _own_http,
}
