"""What can be seen of a running process from outside: metrics, traces and logs."""
