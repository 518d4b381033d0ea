"""Training and fine-tuning: the loop, losses, run folders, and packages of them.

Imports what lies below (`gvtzoo.hub` and lower); everything from evaluation up may import it.
"""
