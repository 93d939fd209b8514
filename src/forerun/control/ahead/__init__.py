"""Acting ahead of calls: what arrives, what is expected of it, and what hosts are told to hold."""
