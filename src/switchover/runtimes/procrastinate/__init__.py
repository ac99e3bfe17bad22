"""Stages carried out by workers: any number of processes, on any machines, that share one PostgreSQL database."""
