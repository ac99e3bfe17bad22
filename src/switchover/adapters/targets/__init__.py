"""What a step writes to or asks: a module per technology, and the provider that finds them by scheme."""
