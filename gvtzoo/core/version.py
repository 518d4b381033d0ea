"""The version of gvtzoo, which packages and run folders state."""

__version__ = "0.1.0"
