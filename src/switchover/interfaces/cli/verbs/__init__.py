"""The verbs, a module per group."""
