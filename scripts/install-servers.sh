#!/usr/bin/env bash
# Install what the tests run beside Python, from the system's packages, where this user may. Nothing is started: the tests
# run their own, private servers.
#
# Without the right to install (or without apt) this says so and succeeds: the tests that need a missing program skip with
# that reason. With CI=true a missing program is a failure, here and in the tests.
set -euo pipefail

# program:package; the program is looked for on the PATH, and PostgreSQL's where Debian puts it.
readonly wanted=(redis-server:redis-server postgres:postgresql pgbouncer:pgbouncer chromium:chromium spin:spin promtool:prometheus systemd-analyze:systemd)

have() { command -v "$1" >/dev/null 2>&1 || [[ "$1" == postgres && -n "$(compgen -G '/usr/lib/postgresql/*/bin/postgres')" ]]; }

missing() {
    local pair
    for pair in "${wanted[@]}"; do
        have "${pair%%:*}" || echo "${pair##*:}"
    done
}

give_up() {
    if [[ -n "${CI:-}" && "${CI:-}" != "false" && "${CI:-}" != "0" ]]; then
        echo "servers: ${packages[*]} missing and CI is set: $1" >&2
        exit 1
    fi
    echo "servers: not installed: ${packages[*]} ($1); the tests that need them are skipped"
    exit 0
}

mapfile -t packages < <(missing)
if [[ ${#packages[@]} == 0 ]]; then exit 0; fi
have apt-get || give_up "no apt-get here; install them with your package manager"

if [[ "$(id -u)" == 0 ]]; then
    as_root() { "$@"; }
elif have sudo && sudo -n true 2>/dev/null; then
    as_root() { sudo -n "$@"; }
else
    give_up "not root and sudo asks for a password; run: sudo apt-get install ${packages[*]}"
fi

# A package's post-install script starts its service unless this file says no. Where there is none, one stands in
# while we install; where there is one, it is left alone.
readonly policy=/usr/sbin/policy-rc.d
if [[ ! -e "$policy" ]]; then
    trap 'as_root rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
fi

apt() { as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get -qq -o DPkg::Lock::Timeout=120 "$@"; }

echo "servers: installing ${packages[*]}"
log="$(mktemp)"
readonly log
for attempt in 1 2 3; do
    if apt update >"$log" 2>&1 && apt install -y --no-install-recommends "${packages[@]}" >>"$log" 2>&1; then break; fi
    if [[ "$attempt" == 3 ]]; then
        tail -n 15 "$log" >&2
        rm -f "$log"
        give_up "apt-get failed, see above"
    fi
    sleep $((attempt * 3))
done
rm -f "$log"

# The machine did not ask for servers of its own, so it does not get them at the next boot either.
if [[ -d /run/systemd/system ]]; then
    for package in "${packages[@]}"; do
        case "$package" in redis-server | postgresql | pgbouncer | prometheus) as_root systemctl disable --quiet "$package" || true ;; esac
    done
fi
mapfile -t packages < <(missing)
if [[ ${#packages[@]} != 0 ]]; then give_up "the packages are installed, but their programs are not found"; fi
