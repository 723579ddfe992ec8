"""Readers of the benchmarks, each in its authors' own layout."""
