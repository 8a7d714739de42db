"""Fuzzing of the capture engine: `python -m bench.fuzz TARGET`. What a target checks stands in `targets`."""
