"""The prediction of a whole image, tile by tile: algorithm, feature maps, plan, execution.

A part of `gvtzoo.prediction`, with its neighbours: whoever may import that may import this.
"""
