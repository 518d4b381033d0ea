from __future__ import annotations

import subprocess
import sys

import gvtzoo.images


def test_importing_gvtzoo_does_not_import_image_libraries():
    code = "import sys, gvtzoo; print({'gvtzoo.images', 'tifffile', 'xarray'} & set(sys.modules))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert output.stdout.strip() == "set()", output.stderr


def test_everything_announced_is_there():
    assert all(hasattr(gvtzoo.images, name) for name in gvtzoo.images.__all__)
