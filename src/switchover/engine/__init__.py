"""Async orchestration, written against the SPI only: who may start, what happens at a boundary, what is written."""
