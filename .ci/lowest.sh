#!/usr/bin/env bash
# A part of the tests with the lowest versions that pyproject.toml allows (see lowest.txt).
#
#   .ci/lowest.sh FOLDER
#
# FOLDER, of the environment, is made when it is not there, and kept.
set -euo pipefail
cd "$(dirname "$0")/.."

env="${1:?lowest.sh needs a folder}"
if [[ ! -e "$env/complete" ]]; then
    python3.11 -m venv "$env"
    PIP_CONSTRAINT="$PWD/.ci/constraints.txt" "$env/bin/python" -m pip install --quiet torch
    PIP_CONSTRAINT="$PWD/.ci/lowest.txt" "$env/bin/python" -m pip install --quiet ".[test]"
    touch "$env/complete"
fi
# What is most particular about versions: arrays, images, packages, tiles on disk, and training.
"$env/bin/python" -m pytest -q -p no:cacheprovider \
    tests/core tests/images tests/recipes tests/prediction/exact/test_journal.py \
    tests/prediction/exact/test_out_of_core.py tests/prediction/test_model.py \
    tests/prediction/test_settings.py tests/packages/test_reader.py tests/packages/test_checks.py \
    tests/packages/test_torchscript.py tests/bioimageio/test_axes.py tests/training/test_run.py \
    tests/hub/test_huggingface.py
