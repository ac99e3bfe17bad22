"""
The crash campaign: a process is killed at counted points, started again, and judged from outside.

``python -m tests.campaigns.crash`` runs it (``make crash``); ``--case SCRIPT:SEED`` runs one case again.
"""
