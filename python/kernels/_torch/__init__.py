"""Kernels in PyTorch models."""
