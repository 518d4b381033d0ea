"""The zoo's page: static, for any web server or none.

Imports what lies below (`gvtzoo.report` and lower); only cli imports it.
"""
