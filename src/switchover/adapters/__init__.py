"""One technology each: stores, targets, bridges, telemetry. Blind to the engine and to each other."""
