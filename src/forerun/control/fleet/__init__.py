"""Many hosts behind one ``Host``: which of them runs a call, holds a standby or a pool, and how many of them there should be.

``view`` (pure) keeps what hosts say of themselves, ``router`` sends calls where ``scheduling.place`` says, ``standbys`` and ``pools``
divide what shall be held ready, ``capacity`` asks for more hosts and lets hosts go.
"""
