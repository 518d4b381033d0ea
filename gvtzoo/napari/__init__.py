"""The napari plugin; what needs no window is in files of its own (`layers`, `work`, `choices`).

Imports everything but the command line; nothing imports it.
"""
