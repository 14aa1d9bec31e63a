"""Artifacts by pickle, for values that both steps' authors mark ``Pickle[...]``."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

from airflow_mlpipe.errors import DocumentError, UserError
from airflow_mlpipe.runtime.artifacts.registry import ArtifactFormat

PROTOCOL = 5  # fixed, so that two versions of Python write the same
FUNCTION_PACKAGE = "@function."  # the modules that hold the function of a step; each has a name of its own


class PickleFormat(ArtifactFormat):
    """Pickle. It is found by its name alone: :mod:`.artifact` asks for the author's mark, on both sides.

    Equal values do not always become equal bytes: a set of texts differs from process to process.
    """

    name = "pickle"
    file = "data.pickle"

    def write(self, value: Any, path: Path) -> None:
        try:
            path.write_bytes(pickle.dumps(value, protocol=PROTOCOL))
        except (pickle.PicklingError, AttributeError, TypeError, RecursionError) as error:
            raise UserError(f"it cannot be pickled: {error}") from error

    def read(self, path: Path, wanted: str) -> Any:
        try:
            with path.open("rb") as stream:
                return _Unpickler(stream).load()
        except (pickle.UnpicklingError, EOFError) as error:
            raise DocumentError(f"{path.name} is not a whole pickle: {error}") from error
        except (ImportError, AttributeError) as error:
            raise UserError(
                f"it cannot be unpickled: {error}; what it is made of must be importable for this step too, "
                "from a package or from a module beside the DAG file"
            ) from error


class _Unpickler(pickle.Unpickler):
    """Finds a class that the producer's module defined in the module of the function that reads it."""

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith(FUNCTION_PACKAGE) and module not in sys.modules:
            own = [known for known in sys.modules if known.startswith(FUNCTION_PACKAGE)]
            module = own[0] if own else module
        return super().find_class(module, name)


PICKLE = PickleFormat()
FORMATS = (PICKLE,)
