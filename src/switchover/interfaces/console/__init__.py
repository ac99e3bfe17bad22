"""The console: pages for people, rendered by the server, live by one small script."""
