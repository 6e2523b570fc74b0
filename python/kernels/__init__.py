"""Kernels for the layers of a model, chosen, checked and swapped in."""
