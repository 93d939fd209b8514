"""Recorded calls run through policies in virtual time, and what that would have cost: the simulator. Pure.

Lines and histories in, scores out; who calls opens the files. What is replayed is the code that acts: ``Policy``.
"""
