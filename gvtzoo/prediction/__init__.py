"""Models that predict images of any size: whole, in blocks, or exactly tile by tile.

Imports what lies below (`gvtzoo.packages` and lower); everything from bioimageio up may import it.
"""
