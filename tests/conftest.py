"""What holds for all tests: an Airflow home of their own, and no deadline on a busy machine."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile

from hypothesis import settings

# Airflow reads its environment when it is imported, so this comes before anything can import it.
for _name in [name for name in os.environ if name.startswith("AIRFLOW__")]:
    del os.environ[_name]
_home = tempfile.mkdtemp(prefix="mlpipe-tests-")
os.environ["AIRFLOW_HOME"] = _home
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
# Numeric libraries start a thread for each processor, which wait for each other by spinning: beside other
# processes on the same processors a model that is learnt in one second took half a minute.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# The runtime beside the steps is compiled once, not by each process of each of them.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

pytest_plugins = ["tests.services", "tests.engines"]

settings.register_profile("mlpipe", deadline=None)
settings.load_profile("mlpipe")


def pytest_collection_finish() -> None:
    # What was imported stays to the end: looking through it for garbage again and again takes a tenth of the
    # time of tests that compute.
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    shutil.rmtree(_home, ignore_errors=True)
