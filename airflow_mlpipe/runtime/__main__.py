"""``python -m airflow_mlpipe.runtime <spec.json>``: supervise one attempt of a step."""

from __future__ import annotations

import sys

from airflow_mlpipe.runtime.supervisor import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
