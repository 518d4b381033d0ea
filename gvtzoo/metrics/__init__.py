"""What is measured: between a prediction and its truth, of σ, of resolution, of objects.

Imports core, networks and images of gvtzoo; everything from recipes up may import it.
"""
