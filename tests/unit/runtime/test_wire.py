import contextlib
import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forerun.runtime import wire


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    yield wire.Stream(ours), wire.Stream(theirs)
    ours.close()
    theirs.close()


@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=2000)), max_size=20), st.data())
def test_frames_arrive_whole_however_they_are_cut(frames, data):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        stream = wire.Stream(theirs)
        raw = b"".join(wire.pack(kind, body) for kind, body in frames)
        cut = data.draw(st.integers(0, len(raw)))
        ours.sendall(raw[:cut])
        ours.sendall(raw[cut:])
        assert [stream.receive(with_fds=i % 2 == 0) for i in range(len(frames))] == frames


def test_descriptors_come_with_their_frame(pair):
    ours, theirs = pair
    reading, writing = os.pipe()
    socket.send_fds(ours.sock, [wire.pack(wire.ASSIGN, b"{}")], [reading])
    assert theirs.receive() == (wire.ASSIGN, b"{}")
    (fd,) = theirs.fds
    os.write(writing, b"x")
    assert os.read(fd, 1) == b"x"
    for each in (reading, writing, fd):
        os.close(each)


@pytest.mark.parametrize("raw", [b"\0\0\0\0", b"\xff\xff\xff\xff", b""])
def test_what_is_no_frame(pair, raw):
    ours, theirs = pair
    ours.sock.sendall(raw)
    ours.sock.close()
    with pytest.raises(wire.WireClosed):
        theirs.receive()
    with pytest.raises(wire.WireClosed):
        theirs.send(wire.pack(wire.READY))


@given(st.dictionaries(st.text(), st.integers()), st.binary(max_size=500))
def test_headed_bodies(head, payload):
    frame = wire.pack_headed(wire.RESULT, head, payload)
    assert wire.split_headed(frame[5:]) == (head, payload)


@given(st.binary(max_size=40))
def test_bad_bodies_are_refused_in_one_way(body):
    for split in (wire.split_headed, wire.split_log):
        with contextlib.suppress(wire.WireClosed):
            split(body)


@given(st.integers(0, 2**63), st.text(st.characters(codec="utf-8")))
def test_log_events(time_ms, text):
    assert wire.split_log(wire.pack_log(time_ms, text)[5:]) == (time_ms, text)
