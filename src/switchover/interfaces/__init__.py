"""How people and programs reach the executor from outside of Python."""
