#!/usr/bin/env bash
# Create .venv and install into it; done once, and again when the wishes or the pins have changed.
#
# Usage: scripts/setup.sh core    what a user gets: enough for the demo
#        scripts/setup.sh dev     core, the optional drivers and every tool (the default)
#
# PYTHON names the interpreter to use; otherwise the first Python 3.11 or newer on the PATH is taken.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly profile="${1:-dev}"
case "$profile" in
    core) readonly wanted="." ;;
    dev) readonly wanted=".[dev]" ;;
    *) echo "setup: unknown profile '$profile'; it is core or dev" >&2; exit 2 ;;
esac

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
    local candidate
    if [[ -n "${PYTHON:-}" ]]; then
        if new_enough "$PYTHON"; then echo "$PYTHON"; return; fi
        echo "setup: PYTHON=$PYTHON is not a Python 3.11 or newer" >&2
        return 1
    fi
    for candidate in python3 python3.11 python3.12 python3.13 python3.14 python; do
        if command -v "$candidate" >/dev/null && new_enough "$candidate"; then echo "$candidate"; return; fi
    done
    echo "setup: Switchover needs Python 3.11 or newer, and python3 here is: $(python3 --version 2>&1 || echo missing)" >&2
    echo "setup: install one, or name one: make setup PYTHON=/path/to/python3.11" >&2
    return 1
}

# Two terminals may set up at the same time: the second one waits, then finds the work done.
if command -v flock >/dev/null; then
    exec 9>.setup.lock
    flock 9
fi

if ! new_enough .venv/bin/python; then
    python="$(find_python)"
    rm -rf .venv
    echo "setup: creating .venv with $("$python" --version)"
    if ! "$python" -m venv .venv; then
        rm -rf .venv
        echo "setup: '$python -m venv' failed; on Debian and Ubuntu the package python3-venv provides it" >&2
        exit 1
    fi
fi

# The stamp is the content, not the time, of what decides an installation: a checkout that touches files costs nothing.
fingerprint="$(cat pyproject.toml constraints.txt scripts/setup.sh | cksum) $(.venv/bin/python --version)"
readonly fingerprint
done_for() { [[ -f ".venv/.switchover-$1" && "$(<".venv/.switchover-$1")" == "$fingerprint" ]]; }

if done_for dev || done_for "$profile"; then exit 0; fi

echo "setup: installing $wanted"
# Both names of one thing: pip before 25.3 applies PIP_CONSTRAINT to the build backend too, later ones PIP_BUILD_CONSTRAINT.
export PIP_CONSTRAINT="$PWD/constraints.txt" PIP_BUILD_CONSTRAINT="$PWD/constraints.txt" PIP_DISABLE_PIP_VERSION_CHECK=1
.venv/bin/python -m pip install -qq -c constraints.txt -e "$wanted"
printf '%s\n' "$fingerprint" >".venv/.switchover-$profile"
echo "setup: ready; .venv/bin holds switchover and its tools"
