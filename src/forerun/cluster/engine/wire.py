"""What a control plane and its engine process tell each other: one JSON object in a line, each way."""

import msgspec

from forerun.cluster.contract import Member

RESOURCE = "forerun_host"
"""What the engine knows our members by: each has one of it."""

CPUS = "forerun_cpus"
"""How many processors a member has; the engine itself is told of none, so that nothing but agents is put there."""

NAMESPACE = "forerun"


class Order(msgspec.Struct, kw_only=True, tag_field="do", tag="start"):
    """Begin. ``address`` is where the head is said to be, empty when there is none; with ``own`` one may be started here.

    ``directory`` and ``keeper`` are the engine's and the agent's on this machine; ``keeper`` is empty for a machine without agent.
    """

    name: str
    directory: str
    keeper: str
    ip: str
    port: int
    address: str
    own: bool
    secret: str
    scale_command: str = ""
    scale_max: int = 0


class Dismiss(msgspec.Struct, kw_only=True, tag_field="do", tag="dismiss"):
    """End a member's agent, and start none there again."""

    name: str
    grace_s: float


class Scale(msgspec.Struct, kw_only=True, tag_field="do", tag="scale"):
    """Wish for so many machines."""

    hosts: int
    memory_mb: int


Command = Order | Dismiss | Scale


class Ready(msgspec.Struct, kw_only=True, tag_field="is", tag="ready"):
    """The engine runs; its head is at ``address``."""

    address: str


class Failed(msgspec.Struct, kw_only=True, tag_field="is", tag="failed"):
    """It does not."""

    reason: str


class Members(msgspec.Struct, kw_only=True, tag_field="is", tag="members"):
    """Who is there now."""

    members: list[Member]


Report = Ready | Failed | Members

commands = msgspec.json.Decoder(Command)
reports = msgspec.json.Decoder(Report)
encode = msgspec.json.Encoder().encode
