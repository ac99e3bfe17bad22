#!/usr/bin/env bash
# Resolve constraints.txt anew: install the newest of what pyproject.toml asks for into a fresh environment, note it down.
#
# Use the oldest supported Python, so that what is chosen still runs there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scratch="$(mktemp -d)"
readonly scratch
trap 'rm -rf "$scratch"' EXIT

"${PYTHON:-python3}" -m venv "$scratch/venv"
export PIP_DISABLE_PIP_VERSION_CHECK=1
# hatchling and editables are what the build of an editable installation takes.
"$scratch/venv/bin/python" -m pip install -qq -e '.[dev]' hatchling editables

{
    grep '^#' constraints.txt
    "$scratch/venv/bin/python" -m pip freeze --exclude-editable --exclude pip --exclude setuptools | grep -E '^[A-Za-z0-9._-]+==' | sort -f
} >"$scratch/constraints.txt"
cp "$scratch/constraints.txt" constraints.txt
echo "pins: $(grep -c == constraints.txt) packages; now run: make check"
