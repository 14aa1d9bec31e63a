#!/bin/sh
# Makes .venv: the project (editable), its development tools, all in the versions of constraints.txt; and Azurite.
#
#   tools/setup.sh [python]      python: a Python 3.10 to 3.13, default python3
#
# Needs only that Python. Where Debian left out its venv module, installs it when allowed to, else says what to do.
set -eu
cd "$(dirname "$0")/.."
python=${1:-python3}
venv=.venv

fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

supported() { "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

can_be_root() { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }

install_debian_venv() {
    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    command -v apt-get >/dev/null && can_be_root ||
        fail "$python cannot make virtual environments. Install them (on Debian: sudo apt-get install $package), then run make again."
    echo "setup: installing $package, which $python needs to make virtual environments"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$package"
}

command -v "$python" >/dev/null || fail "found no $python. Install Python 3.10 to 3.13, or name one: make setup PYTHON=/path/to/python3.12"
supported "$python" ||
    fail "$python is $("$python" --version 2>&1), but Airflow 3 needs 3.10 to 3.13. Name another: make setup PYTHON=/path/to/python3.12"

if ! supported "$venv/bin/python"; then
    "$python" -c 'import ensurepip, venv' 2>/dev/null || install_debian_venv
    echo "setup: making $venv with $("$python" --version)"
    "$python" -m venv --clear "$venv"
fi

# uv resolves and downloads some two hundred packages in a fraction of pip's time.
"$venv/bin/python" -m pip install --quiet --constraint constraints.txt uv
echo "setup: installing the project and its tools"
# Compiled now, so that four Airflow components do not compile the same modules side by side at their first start.
"$venv/bin/python" -m uv pip install --python "$venv/bin/python" --compile-bytecode \
    --editable . --group dev --constraint constraints.txt
tools/azurite.sh || echo "setup: Azurite could not be installed: the tests on Azure Blob will be skipped" >&2
echo "setup: done, see make help"
