"""``python -m airflow_mlpipe.carrier <folder of the parcel> <root>``: run an attempt below *root*."""

from __future__ import annotations

import sys

from airflow_mlpipe.carrier.carrier import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
