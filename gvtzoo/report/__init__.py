"""Pages and figures of evaluations.

Imports what lies below (`gvtzoo.evaluation` and lower); everything from api up may import it.
"""
