"""Who runs an admitted task."""
