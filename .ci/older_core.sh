#!/usr/bin/env bash
# Test packages with the older bioimageio.core that ilastik ships, in an environment of its own.
#
#   .ci/older_core.sh [--env FOLDER] PACKAGE.zip...
#
# FOLDER is made when it is not there, and kept; without --env a temporary one is made and removed.
# PYTHON names the interpreter (default: python3). Set PIP_CONSTRAINT to pin torch.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
env=""
if [[ "${1:-}" == "--env" ]]; then
    env="${2:?--env needs a folder}"
    shift 2
fi
if [[ $# -eq 0 ]]; then
    echo "usage: older_core.sh [--env FOLDER] PACKAGE.zip..." >&2
    exit 2
fi
if [[ -z "$env" ]]; then
    scratch="$(mktemp -d)"
    trap 'rm -rf "$scratch"' EXIT
    env="$scratch/env"
fi
if [[ ! -e "$env/complete" ]]; then
    "${PYTHON:-python3}" -m venv "$env"
    "$env/bin/python" -m pip install --quiet torch onnxruntime "pydantic<2.14" \
        bioimageio.core==0.10.2 bioimageio.spec==0.5.9.1
    touch "$env/complete"
fi
"$env/bin/python" "$here/check_older_core.py" "$@"
