"""Test packages with the bioimageio.core that is installed here, every weights format.

Run by older_core.sh in an environment with the release that ilastik ships, without gvtzoo.
"""

from __future__ import annotations

import os
import sys
import zipfile
from pathlib import Path
from typing import Any

from ruyaml import YAML  # comes with bioimageio.spec

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def strings(content: Any) -> set[str]:
    """Every text in a description: known addresses are not looked up on the network."""
    if isinstance(content, str):
        return {content}
    if not isinstance(content, (dict, list)):
        return set()
    inner = content.values() if isinstance(content, dict) else content
    return set().union(*(strings(value) for value in inner))


def failures(path: Path) -> list[str]:
    """Test one package and print a line for each weights format."""
    from bioimageio.core import test_model
    from bioimageio.spec import load_description

    with zipfile.ZipFile(path) as archive:
        rdf = YAML(typ="safe").load(archive.read("rdf.yaml"))
    failed = []
    for weights in rdf["weights"]:
        model = load_description(
            path, perform_io_checks=True, known_files=dict.fromkeys(strings(rdf))
        )
        summary = test_model(model, weight_format=weights)
        print(f"{path.name} {weights}: {summary.status}", flush=True)
        if summary.status != "passed":
            failed.append(f"{path.name} {weights}")
            for detail in summary.details:
                for error in detail.errors:
                    print(f"  {detail.name}: {error.msg}")
    return failed


def main(paths: list[str]) -> int:
    if not paths:
        print("usage: check_older_core.py PACKAGE.zip...", file=sys.stderr)
        return 2
    from bioimageio.core import __version__
    from loguru import logger

    logger.disable("bioimageio")
    print(f"bioimageio.core {__version__}")
    failed = [line for path in paths for line in failures(Path(path))]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
