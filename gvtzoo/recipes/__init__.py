"""What defines a training, in YAML, and what describes a model to people. No PyTorch.

Imports what lies below (`gvtzoo.metrics` and lower); everything from packages up may import it.
"""
