"""What of an event somebody wants: patterns as EventBridge writes them, and what is made of an event for a target. Pure."""
