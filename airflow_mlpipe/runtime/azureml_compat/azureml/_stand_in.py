"""What the modules of the stand-in say of names that they do not have, or have for show."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any, NoReturn

from airflow_mlpipe.runtime.refused import UnsupportedError

PACKAGE = "azureml"


class _AuthoringClass(type):
    """Of classes that can be imported: everything else is an UnsupportedError."""

    advice: str

    def __call__(cls, *_: object, **__: object) -> NoReturn:
        cls._refuse()

    def __getattr__(cls, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        cls._refuse()

    def _refuse(cls) -> NoReturn:
        raise UnsupportedError(
            f"{cls.__module__}.{cls.__name__} is not supported by airflow_mlpipe's stand-in for azureml: "
            f"it is for the DAG; {cls.advice}"
        )


def authoring(module: str, name: str, advice: str) -> Any:
    """The class *name* of *module*, of which nothing but the name is there; *advice* is what the DAG has."""
    return _AuthoringClass(name, (), {"__module__": module, "advice": advice})


def submodule(package: str) -> Callable[[str], ModuleType]:
    """The ``__getattr__`` of *package*: its modules, imported when they are asked for; else ImportError."""

    def __getattr__(name: str) -> ModuleType:
        if name.startswith("__"):
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return import_module(f"{package}.{name}")

    return __getattr__


def unknown(module: str) -> Callable[[str], NoReturn]:
    """The ``__getattr__`` of *module*, which holds no others."""

    def __getattr__(name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        raise ImportError(_sentence(f"{module}.{name}"))

    return __getattr__


class _Refusal:
    """The last of the finders: what comes to it is in no folder of the stand-in."""

    @staticmethod
    def find_spec(fullname: str, path: Sequence[str] | None = None, target: object = None) -> None:
        if fullname.startswith(f"{PACKAGE}."):
            raise ModuleNotFoundError(_sentence(fullname), name=fullname)


def refuse_unknown_modules() -> None:
    """Let the import of any other module of the package say why it is not there."""
    sys.meta_path.append(_Refusal)


def _sentence(name: str) -> str:
    return (
        f"{name} is not supported by airflow_mlpipe's stand-in for azureml; remove it from the script, or "
        "give the step azureml_compat=False and the real package"
    )
