"""Very many workers on one machine: the real driver and real workers, over a simulated database, clock and fleet."""
