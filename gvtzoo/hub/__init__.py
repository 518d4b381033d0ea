"""A model by its name or address: loading, the zoo's index, downloads, Hugging Face.

Imports what lies below (`gvtzoo.bioimageio` and lower); everything from training up may import it.
"""
