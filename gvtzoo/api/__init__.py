"""What `gvtzoo` offers by its own name and takes several rooms for: predict, evaluate, package.

Imports any of the rooms from core to report; only the site, the command line and the plugin import
it.
"""
