"""What a step really makes: its script, run as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.mutations.project import BUNDLE, SITE, Data, Output, Param, Project

SECONDS = 20.0
FAILED = b"failed"


def result(project: Project, folder: Path) -> bytes:
    """Run the step of *project*, laid below *folder*; what it wrote, or how it failed.

    Nothing of the package under test takes part. Python's own bytecode cache is off, because it takes
    a file of the same size and time for the same.
    """
    output = folder / "output"
    output.unlink(missing_ok=True)
    bundle = folder / BUNDLE
    if not (bundle / project.source).is_dir():
        return FAILED
    arguments = [_argument(item, project, bundle, output) for item in project.arguments]
    try:
        done = subprocess.run(
            [sys.executable, "-S", project.script, *arguments],
            cwd=bundle / project.source,
            env={
                "PATH": os.defpath,
                "PYTHONDONTWRITEBYTECODE": "1",
                "PYTHONHASHSEED": "0",
                "PYTHONPATH": os.pathsep.join([str(bundle), str(folder / SITE)]),
                **project.variables,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return b"no end"
    if done.returncode != 0 or not output.exists():
        return FAILED
    return b"made " + output.read_bytes()


def _argument(item: Any, project: Project, bundle: Path, output: Path) -> str:
    if isinstance(item, Data):
        return str(bundle / item.path)
    if isinstance(item, Output):
        return str(output)
    return str(project.params[item.name] if isinstance(item, Param) else item)
