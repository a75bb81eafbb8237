#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Writes requirements.txt (to run) and requirements-dev.txt (to work on it) from pyproject.toml: every package by
# version and hash, for every platform and Python from 3.11 on. Versions already locked stay unless UPGRADE=1.

set -eu
cd "$(dirname "$0")/.."

PYTHON=.venv/bin/python
UV_VERSION=0.13.8

compile() {
    output=$1
    shift
    echo "lock: $output"
    "$PYTHON" -m uv --quiet pip compile pyproject.toml "$@" --output-file "$output" \
        --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --custom-compile-command "make lock" ${UPGRADE:+--upgrade} >/dev/null
}

"$PYTHON" -m pip --disable-pip-version-check --quiet install "uv==$UV_VERSION"
compile requirements.txt --group build
compile requirements-dev.txt --group build --group dev --constraint requirements.txt
