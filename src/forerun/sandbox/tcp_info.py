"""What the kernel knows of a TCP connection, read from the bytes of its ``struct tcp_info``. Pure.

Older kernels end the structure earlier: what they do not tell is 0.
"""

import struct
from typing import NamedTuple

OPTION = 11  # TCP_INFO
SIZE = 168
_RESENT, _SEGMENTS, _DELIVERY = 100, 136, 160
_RTT = 68
_NUMBER, _LONG = struct.Struct("=I"), struct.Struct("=Q")

ESTABLISHED, SYN_SENT = 1, 2


class TcpInfo(NamedTuple):
    """``timeouts`` are those since something last came back, ``rtt_ms`` the smoothed round trip (0: not measured), ``resent`` of ``segments``
    were sent again, ``delivery_bytes_per_s`` is how fast the other end took what was sent lately (0: unknown).
    """

    state: int
    timeouts: int
    rtt_ms: float
    resent: int
    segments: int
    delivery_bytes_per_s: float


def read_tcp_info(data: bytes) -> TcpInfo | None:
    """``None`` for what is too short to be one."""
    if len(data) < _RESENT + _NUMBER.size:
        return None
    return TcpInfo(
        state=data[0],
        timeouts=data[2],
        rtt_ms=_NUMBER.unpack_from(data, _RTT)[0] / 1000,
        resent=_NUMBER.unpack_from(data, _RESENT)[0],
        segments=_number(data, _SEGMENTS, _NUMBER),
        delivery_bytes_per_s=float(_number(data, _DELIVERY, _LONG)),
    )


def _number(data: bytes, offset: int, shape: struct.Struct) -> int:
    value: int = shape.unpack_from(data, offset)[0] if len(data) >= offset + shape.size else 0
    return value
