"""What is worked out by reading: what a plan would do, whether all is in order, everything about one plan."""
