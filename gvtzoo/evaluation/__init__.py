"""Models against truths: pairs, runs, results, statistics, sweeps over tiles, transfer.

Imports what lies below (`gvtzoo.training` and lower); everything from report up may import it.
"""
