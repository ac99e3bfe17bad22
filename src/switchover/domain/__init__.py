"""The rules of a switch: pure values and decisions, with no I/O, no clock, no logging and no async."""
