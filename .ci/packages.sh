#!/usr/bin/env bash
# Installs the built wheel and the sdist with plain pip, for each Python from 3.11 on that is here, in new environments
# and an empty folder, and trains a model with each. Some 6 GB and five minutes for each Python; removed afterwards.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

try() { # a name, the vitcli to try
  mkdir "$work/empty" && cd "$work/empty"
  "$2" --version
  "$2" list models >/dev/null
  "$2" train train.steps=5 data.size=640 | tail -n 1
  "$2" new study my-depth >/dev/null && "$2" plan my-depth --config-dir my_conf | tail -n 1
  cd "$root" && rm -rf "$work/empty"
  echo "OK: $1"
}

for python in python3.11 python3.12 python3.13 python3.14; do
  command -v "$python" >/dev/null && "$python" -c 'import venv' 2>/dev/null || { echo "NOT TESTED: $python is not here"; continue; }
  "$python" -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet --constraint constraints.txt dist/*.whl
  try "$python, wheel" "$work/venv/bin/vitcli"
  "$work/venv/bin/pip" install --quiet --no-deps --force-reinstall dist/*.tar.gz
  try "$python, sdist" "$work/venv/bin/vitcli"
  rm -rf "$work/venv"
done
