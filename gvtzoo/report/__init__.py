"""Pages and figures of evaluations.

Imports what lies below (`gvtzoo.evaluation` and lower); site, demo and cli may import it.
"""
