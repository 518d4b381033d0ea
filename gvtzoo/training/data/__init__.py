"""What a training learns from: pairs, patches, simulated noise and surfaces, public data sets.

A part of `gvtzoo.training`: whoever may import that may import this.
"""
