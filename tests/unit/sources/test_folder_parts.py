"""The parts of watched directories: what is found, what has settled, where one may watch, what is told."""

import base64
import json
import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forerun.errors import AccessDenied, InvalidInput
from forerun.sources.folders.roots import is_network, require_allowed, require_named, resolve
from forerun.sources.folders.settling import LATEST_S, Settling, Told
from forerun.sources.folders.telling import make_message
from forerun.sources.folders.walk import DEEPEST, Found, Walk, look
from forerun.storage.folders import Folder, FolderConfig, Mark

ACCOUNT = "000000000042"
MARK = Mark(1_700_000_000_000_000_000, 5, 1)


def everything(walk: Walk, step: int = 2) -> set[bytes]:
    found: set[bytes] = set()
    while some := walk.some(step):
        assert len(some) <= step
        found |= {each.path for each in some}
    return found


def test_a_walk_finds_regular_files_and_follows_no_link(tmp_path: Path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    for path in (root / "a", root / "b" / "c", outside):
        path.mkdir(parents=True)
    for path in (root / "one", root / "a" / "two", root / "b" / "c" / "three", outside / "not"):
        path.write_text("x")
    (root / os.fsdecode(b"\xff\xfe")).write_text("no text")
    (root / "link").symlink_to(outside / "not")
    (root / "linked").symlink_to(outside)
    os.mkfifo(root / "pipe")
    found = {b"one", b"a/two", b"b/c/three", b"\xff\xfe"}
    assert everything(Walk(str(root))) == found
    assert everything(Walk(str(root), b"b")) == {b"b/c/three"}
    assert everything(Walk(str(root), recursive=False)) == {b"one", b"\xff\xfe"}
    files, directories, nothing = look(
        str(root), [b"one", b"b/c", b"gone", b"link", b"linked/not", b"pipe", b"a/two"]
    )
    assert [each.path for each in files] == [b"one", b"a/two"]
    assert directories == [b"b/c"]
    assert nothing == [b"gone", b"link", b"linked/not", b"pipe"]
    (root / "root link").symlink_to(root)
    with pytest.raises(OSError, match="root link"):
        Walk(str(root / "root link")).some(1)


def test_a_walk_that_is_given_up_leaves_nothing_open(tmp_path: Path):
    for number in range(5):
        (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}" / "file").write_text("x")
    before = len(os.listdir("/proc/self/fd"))
    walk = Walk(str(tmp_path))
    assert len(walk.some(2)) == 2
    walk.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_lies_too_deep_is_left_out_and_counted(tmp_path: Path):
    here = tmp_path
    for _ in range(DEEPEST + 3):
        here /= "d"
        here.mkdir()
        (here / "f").write_text("x")
    walk = Walk(str(tmp_path))
    assert len(everything(walk, 50)) == DEEPEST - 1
    assert walk.left_out == 1


def found(path: bytes = b"f", mark: Mark = MARK, changed: float = 1000.0) -> Found:
    return Found(path, mark, changed)


def test_a_file_is_told_when_it_has_rested():
    settling = Settling(2.0)
    assert settling.consider([found()], {}, 10.0, 1000.0) == []
    assert settling.next_look() == 12.0
    assert settling.due(11.9, 9) == []
    assert settling.due(12.0, 9) == [b"f"]
    grown = MARK._replace(size=6)
    # It was written to: it is waited for again.
    assert settling.consider([found(mark=grown, changed=1001.5)], {}, 12.0, 1002.0) == []
    assert settling.consider([found(mark=grown, changed=1001.5)], {}, 14.0, 1004.0) == [
        Told("created", b"f", grown)
    ]
    assert settling.next_look() is None


def test_a_file_that_rested_long_ago_is_told_at_once_and_one_that_was_told_is_not():
    settling = Settling(2.0)
    assert settling.consider([found()], {}, 10.0, 1002.0) == [Told("created", b"f", MARK)]
    assert settling.consider([found()], {b"f": MARK}, 10.0, 1002.0) == []
    newer = MARK._replace(inode=2)
    told = settling.consider([found(mark=newer)], {b"f": MARK}, 10.0, 1002.0)
    assert told == [Told("modified", b"f", newer)]
    # Where the file system's time is another machine's, only what was seen counts.
    assert settling.consider([found()], {}, 10.0, math.nan) == []
    assert settling.consider([found()], {}, 12.0, math.nan) == [Told("created", b"f", MARK)]


def test_a_file_that_never_rests_is_told_now_and_then():
    settling, told = Settling(1.0), []
    for second in range(int(3 * LATEST_S)):
        mark = MARK._replace(size=second)
        told += settling.consider([found(mark=mark, changed=second)], {}, second, float(second))
    assert [each.settled for each in told] == [False, False]


def test_only_so_many_files_are_waited_for():
    settling = Settling(5.0, most=10)
    crowd = [found(b"%d" % number) for number in range(50)]
    assert settling.consider(crowd, {}, 0.0, 1000.0) == []
    assert len(settling) == 10
    assert settling.crowded
    # They are found again by looking, and rest meanwhile.
    assert len(settling.consider(crowd, {}, 5.0, 1005.0)) == 50
    assert len(settling) == 0


@given(
    steps=st.lists(
        st.tuples(st.booleans(), st.floats(0.1, 5.0, allow_nan=False)), min_size=1, max_size=30
    )
)
def test_whatever_is_written_the_last_state_is_told_once(steps):
    """A writer that writes or not, a looker that looks after each step and whenever it is due."""
    settling, known, now = Settling(1.0), {}, 100.0
    mark, told = MARK, []

    def look_now() -> None:
        for each in settling.consider([found(mark=mark, changed=now)], dict(known), now, math.nan):
            told.append(each)
            known[each.path] = each.mark

    for number, (write, seconds) in enumerate(steps):
        if write:
            mark = MARK._replace(size=MARK.size + 1 + number)
        look_now()
        now += seconds
    look_now()
    now += 1.0
    look_now()
    assert [each.mark for each in told].count(mark) == 1
    assert told[-1].mark == mark
    assert all(each.kind == ("created" if not n else "modified") for n, each in enumerate(told))


def test_only_what_the_operator_allows_may_be_watched(tmp_path: Path):
    allowed, other = tmp_path / "allowed", tmp_path / "allowed-too"
    allowed.mkdir()
    other.mkdir()
    (allowed / "sub").mkdir()
    (allowed / "out").symlink_to(other)
    roots = [str(allowed), f"000000000043:{other}"]
    for path in (allowed, allowed / "sub"):
        require_allowed(resolve(str(path)), ACCOUNT, roots)
    require_allowed(resolve(str(other)), "000000000043", roots)
    for path in (other, allowed / "out", tmp_path):
        with pytest.raises(AccessDenied, match="may not be watched"):
            require_allowed(resolve(str(path)), ACCOUNT, roots)
    with pytest.raises(AccessDenied, match="No directory may be watched"):
        require_allowed(str(allowed), ACCOUNT, [])
    require_allowed("/srv", ACCOUNT, ["/"])
    for path in ("relative", str(tmp_path / "none"), "/a\0b", str(allowed / "out" / ".." / "x")):
        with pytest.raises(InvalidInput, match="Path"):
            resolve(path)


def test_what_is_elsewhere_is_refused_before_the_disk_is_looked_at(tmp_path: Path):
    allowed, link = tmp_path / "allowed", tmp_path / "link"
    allowed.mkdir()
    link.symlink_to(allowed)
    roots = [str(link), f"000000000043:{tmp_path}"]
    for path in (link, link / "none", allowed / "sub", f"{link}/../link/sub"):
        require_named(str(path), ACCOUNT, roots)
    for path in (tmp_path, tmp_path / "none", f"{link}/../none", "/etc/passwd"):
        with pytest.raises(AccessDenied, match="may not be watched"):
            require_named(str(path), ACCOUNT, roots)
    with pytest.raises(InvalidInput, match="absolute"):
        require_named("link", ACCOUNT, roots)


def test_other_machines_file_systems_are_known():
    mountinfo = (
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        "30 22 0:41 / /mnt/share rw - nfs4 server:/x rw\n"
        "31 22 0:42 / /mnt/with\\040space rw - fuse.sshfs host:/ rw\n"
    )
    kinds = {
        place: is_network(place, mountinfo) for place in ("/", "/mnt/share", "/mnt/with space")
    }
    assert kinds == {"/": False, "/mnt/share": True, "/mnt/with space": True}


def folder(target: str) -> Folder:
    config = FolderConfig(path="/srv/inbox", target=target, created=0, modified=0)
    return Folder(id=7, account=ACCOUNT, name="inbox", config=config)


def test_a_file_is_told_as_a_cloud_event_in_the_form_of_its_target():
    told = Told("created", b"a/b\xff.txt", MARK)
    function = f"arn:aws:lambda:us-home-1:{ACCOUNT}:function:f"
    message = make_message(folder(function), told, "us-home-1", 1_700_000_001.5)
    event = json.loads(message.payload)
    assert event == {
        "specversion": "1.0",
        "id": message.id,
        "source": f"arn:aws:forerun:us-home-1:{ACCOUNT}:folder/inbox",
        "type": "dev.forerun.file.created",
        "subject": "a/b\\xff.txt",
        "time": "2023-11-14T22:13:21.500+00:00",
        "datacontenttype": "application/json",
        "data": {
            "folder": "inbox",
            "path": "/srv/inbox/a/b\\xff.txt",
            "size": 5,
            "mtime": 1_700_000_000.0,
            "settled": True,
            "path_base64": base64.b64encode(b"a/b\xff.txt").decode(),
        },
    }
    assert (message.principal, message.target) == ("folders.forerun", function)
    again = make_message(folder(function), told, "us-home-1", 1_800_000_000.0)
    assert again.id == message.id
    for other in (
        Told("modified", told.path, MARK),
        Told("created", b"c", MARK),
        Told("created", told.path, MARK._replace(mtime_ns=1)),
    ):
        assert make_message(folder(function), other, "us-home-1", 0).id != message.id
    url = make_message(folder("https://example.com/"), told, "us-home-1", 0)
    assert url.attributes == {"header:content-type": "application/cloudevents+json"}
    bus = make_message(
        folder(f"arn:aws:events:us-home-1:{ACCOUNT}:event-bus/b"), told, "us-home-1", 0
    )
    assert bus.attributes["DetailType"] == "dev.forerun.file.created"
    assert json.loads(bus.payload)["subject"] == "a/b\\xff.txt"
    fifo = folder(f"arn:aws:sqs:us-home-1:{ACCOUNT}:q.fifo")
    groups = {
        make_message(fifo, each, "us-home-1", 0).attributes["MessageGroupId"]
        for each in (told, Told("modified", told.path, MARK), Told("created", b"c", MARK))
    }
    assert len(groups) == 2
