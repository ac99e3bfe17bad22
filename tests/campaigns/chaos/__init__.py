"""Drivers, workers and their database, killed, frozen and restarted at random; and a judge of what is left."""
