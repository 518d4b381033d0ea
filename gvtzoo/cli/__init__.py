"""The command line: commands parse, call the library, and print.

Imports everything; nothing imports it.
"""
