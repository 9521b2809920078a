"""Sizes. Inside vmtop every amount of memory is a whole number of bytes."""

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
TIB = 1024 * GIB

PAGE_BYTES = 4 * KIB
"""The usual page: of x86-64, of most arm64 kernels, and of simulated hosts. A real host is asked for its own."""
