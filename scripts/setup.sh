#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Makes `.venv` hold exactly what the lock file names: `scripts/setup.sh core` (to run) or `dev` (to work on it).
#
# The environment is made once, and packages are installed again only when a lock file has changed: a copy of what
# was installed lies in the environment itself. Two set-ups at the same time wait for each other.

set -eu
cd "$(dirname "$0")/.."

VENV=.venv
LOWEST="3.11"

say() { printf 'setup: %s\n' "$*"; }
stop() { printf 'setup: %s\n' "$*" >&2; exit 1; }

case "${1:-core}" in
    core) lock=requirements.txt; stamps="core" ;;
    dev) lock=requirements-dev.txt; stamps="core dev" ;;
    *) stop "say 'core' or 'dev', not '$1'." ;;
esac

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

# The first Python that is new enough; PYTHON=… names one.
find_python() {
    for name in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if command -v "$name" >/dev/null 2>&1 && new_enough "$name"; then command -v "$name"; return; fi
    done
    name=${PYTHON:-python3}
    command -v "$name" >/dev/null 2>&1 ||
        stop "HMS-ACT needs Python $LOWEST or newer, and there is no $name here: install it (on Debian: apt-get install python3 python3-venv)."
    stop "HMS-ACT needs Python $LOWEST or newer, and $name is $("$name" -c 'import platform; print(platform.python_version())' 2>/dev/null || echo unusable): install a newer one and name it, as in make demo PYTHON=/usr/bin/python3.12."
}

# Debian keeps the part of Python that makes environments in a package of its own.
install_venv_module() {
    package="python$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        stop "this Python cannot make virtual environments: install its venv module (on Debian: apt-get install $package)."
    fi
    say "installing $package, which this Python needs to make environments"
    log=$(mktemp)
    if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$package"; } >"$log" 2>&1; then
        cat "$log" >&2
        stop "apt-get could not install $package (above is what it said)."
    fi
    rm -f "$log"
}

make_environment() {
    python=$(find_python)
    say "making the virtual environment in $VENV ($("$python" --version 2>&1))"
    if ! "$python" -m venv --clear "$VENV" >/dev/null 2>&1; then
        install_venv_module "$python"
        "$python" -m venv --clear "$VENV" || stop "this Python could not make a virtual environment (above is what it said)."
    fi
}

# What an environment of this kind was made from: any difference means that it has to be brought up to date.
wanted() { cat "$1" hms_act/pyproject.toml 2>/dev/null || cat "$1"; }
is_current() { wanted "$lock" | cmp -s - "$VENV/installed-$1.txt"; }

pip() { "$VENV/bin/python" -m pip --disable-pip-version-check --no-input --quiet "$@"; }

install_packages() {
    say "installing $(grep -c '^[A-Za-z0-9]' "$lock") packages from $lock (a minute the first time)"
    pip install --require-hashes -r "$lock" || stop "the packages of $lock could not be installed (above is what pip said)."
    if [ -f hms_act/pyproject.toml ]; then
        pip install --no-deps --no-build-isolation -e ./hms_act || stop "the package in hms_act/ could not be installed (above is what pip said)."
    fi
    wanted "$lock" >"$VENV/installed-${1}.txt"
    # The lock for work holds the one for running, so that one is done too.
    [ "$1" = core ] || wanted requirements.txt >"$VENV/installed-core.txt"
}

mkdir -p var
if command -v flock >/dev/null 2>&1; then
    exec 9>var/setup.lock
    flock 9
fi

kind=${stamps##* }
if [ -x "$VENV/bin/python" ] && is_current "$kind"; then exit 0; fi
if ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then make_environment; fi
install_packages "$kind"
