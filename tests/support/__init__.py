"""What tests share: processes, servers. Not shipped; what backend authors need is in ``switchover.testing``."""
