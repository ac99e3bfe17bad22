"""The HTTP API: ``create_app`` makes it; an extra (``pip install 'switchover[server]'``)."""
