"""What everything else stands on: errors, whole files, YAML, checked settings, downloads.

Imports nothing of gvtzoo; every folder may import it.
"""
