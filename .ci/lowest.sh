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
    # torch with what its build needs, which may be CUDA's packages; of the rest, lowest.txt is
    # complete, so there is nothing to resolve.
    "$env/bin/python" -m pip install --quiet "$(grep ^torch== .ci/lowest.txt)"
    "$env/bin/python" -m pip install --quiet --no-deps -r .ci/lowest.txt
    "$env/bin/python" -m pip install --quiet --no-deps .
    touch "$env/complete"
fi
# What is most particular about versions: arrays, images, packages, tiles on disk, and training.
"$env/bin/python" -m pytest -q -n auto -p no:cacheprovider \
    tests/test_dependencies.py tests/core tests/recipes tests/images/test_files.py \
    tests/images/test_ome_zarr.py tests/images/test_situations.py tests/images/test_remote.py \
    tests/prediction/exact/test_journal.py tests/prediction/exact/test_out_of_core.py \
    tests/prediction/test_settings.py tests/packages/test_reader.py tests/packages/test_checks.py \
    tests/packages/test_torchscript.py tests/bioimageio/test_axes.py tests/training/test_run.py \
    tests/hub/test_huggingface.py
