"""Metrics, classical denoisers to compare with, and what a camera does to a clean image."""
