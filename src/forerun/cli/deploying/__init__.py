"""From files on this machine to functions on a server.

Everything that can be refused is refused before the first change; every change is made only where something differs, so
that deploying twice keeps warm sandboxes warm and makes no new version.
"""
