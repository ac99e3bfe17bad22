"""Where plans, tasks and events are kept: memory (the reference), SQLite, PostgreSQL, Redis."""
