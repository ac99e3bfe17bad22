"""Doors through which texts of strangers come in, and fuzzers that stand before them: ``make fuzz``."""
