"""The command line as ``python -m gvtzoo``."""

from gvtzoo.cli.main import main

main()
