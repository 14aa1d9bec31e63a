"""The texts that Kubernetes accepts as names, labels and amounts; each type refuses any other."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_DNS_SUBDOMAIN = re.compile(rf"{_DNS_LABEL.pattern}(\.{_DNS_LABEL.pattern})*")
_AMOUNT = re.compile(r"(\d+(\.\d+)?)(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)")
_CPU = re.compile(r"\d+(\.\d{1,3})?|\d+m")
_SECRET_KEY = re.compile(r"[A-Za-z0-9_.-]{1,253}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def is_label_value(text: str) -> bool:
    """Whether *text* may be the value of a label."""
    return text == "" or _LABEL_VALUE.fullmatch(text) is not None


def is_object_name(text: str) -> bool:
    """Whether *text* may name an object: a DNS subdomain, of at most 253 characters."""
    return len(text) <= 253 and _DNS_SUBDOMAIN.fullmatch(text) is not None


def is_qualified_name(text: str) -> bool:
    """Whether *text* may be the key of a label, an annotation, a taint or a resource."""
    prefix, slash, name = text.rpartition("/")
    return bool(_LABEL_VALUE.fullmatch(name)) and (not slash or is_object_name(prefix))


def _namespace(text: str) -> str:
    if not _DNS_LABEL.fullmatch(text):
        raise ValueError(f"{text!r} is no namespace: use up to 63 small letters, digits and '-'")
    return text


def _object_name(text: str) -> str:
    if not is_object_name(text):
        raise ValueError(f"{text!r} is no name of an object: use small letters, digits, '-' and '.'")
    return text


def _qualified_name(text: str) -> str:
    if not is_qualified_name(text):
        raise ValueError(f"{text!r} is no key such as 'team' or 'example.com/team'")
    return text


def _label_value(text: str) -> str:
    if not is_label_value(text):
        raise ValueError(
            f"{text!r} is no value of a label: use up to 63 letters, digits, '-', '_' and '.', "
            "starting and ending with a letter or digit"
        )
    return text


def cpus(text: str) -> float:
    """How many CPUs a field of type :data:`Cpu` says."""
    return float(text.removesuffix("m")) / (1000 if text.endswith("m") else 1)


def _amount(given: object) -> str:
    match = _AMOUNT.fullmatch(given) if isinstance(given, str) else None
    if match is None or float(match[1]) == 0:
        raise ValueError(
            f"{given!r} is no amount: write a number above 0 with its unit, such as '16Gi' or '500M'"
        )
    return match[0]


def _cpu(given: object) -> str:
    text = f"{given:g}" if isinstance(given, float) else str(given)
    if isinstance(given, bool) or not _CPU.fullmatch(text) or cpus(text) == 0:
        raise ValueError(f"{given!r} is no number of CPUs: write a number above 0, such as 4, 0.5 or '500m'")
    return text


def _absolute_path(path: str) -> str:
    is_plain = path == "/" or (path.startswith("/") and is_inside(path[1:].removesuffix("/")))
    if not is_plain or ":" in path:
        raise ValueError(f"{path!r} is no absolute path without '..', '.', '//' and ':'")
    return path


def is_inside(path: str) -> bool:
    """Whether *path* leads into a folder: relative, in its shortest form, and without '..'."""
    parts = path.split("/")
    return not any(part in ("", ".", "..") for part in parts) and path.isprintable() and path == path.strip()


def _variable(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        raise ValueError(f"{name!r} is no name of an environment variable")
    return name


def _secret_reference(text: str) -> str:
    name, _, key = text.partition("/")
    if not is_object_name(name) or not _SECRET_KEY.fullmatch(key):
        raise ValueError(f"{text!r} names no value of a Secret: write SECRET/KEY, such as 'tracking/token'")
    return text


Namespace = Annotated[str, AfterValidator(_namespace)]
ObjectName = Annotated[str, AfterValidator(_object_name)]
QualifiedName = Annotated[str, AfterValidator(_qualified_name)]
LabelValue = Annotated[str, AfterValidator(_label_value)]
QueueName = Annotated[str, Field(min_length=1), AfterValidator(_label_value)]
Amount = Annotated[str, BeforeValidator(_amount)]
Cpu = Annotated[str, BeforeValidator(_cpu)]
AbsolutePath = Annotated[str, AfterValidator(_absolute_path)]
VariableName = Annotated[str, AfterValidator(_variable)]
SecretReference = Annotated[str, AfterValidator(_secret_reference)]
