"""The way from a message to its target, and from what waits in a queue to an execution.

``outbox`` takes messages and brings them to their targets, ``permission`` asks whether the target lets their source,
``undeliverable`` says what becomes of those that cannot be delivered, ``dead_letters`` keeps them.
"""
