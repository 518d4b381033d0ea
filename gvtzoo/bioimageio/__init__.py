"""BioImage.IO packages that others made: opened, trusted or not, and predicted with.

Imports what lies below (`gvtzoo.prediction` and lower); everything from hub up may import it.
"""
