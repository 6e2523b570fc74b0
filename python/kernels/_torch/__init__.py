"""Kernels in PyTorch models."""

from kernels._torch import host as host
