"""How the web and directories tell whether they changed, and what never can be told."""

import asyncio
import os

import pytest
from tests.fakes.clock import FakeClock

from forerun.aio import SystemClock
from forerun.control.once import FolderState, WebState
from forerun.control.once.dependencies import input_digest, read_specs
from forerun.control.once.web import version_of
from forerun.errors import AccessDenied, InvalidInput

ACCOUNT = "1" * 12
OLD, NOW = "Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2015 07:28:30 GMT"


@pytest.mark.parametrize(
    ("status", "headers", "version"),
    [
        (200, {"etag": '"a"'}, 'etag "a"'),
        (204, {"etag": 'W/"a"', "last-modified": OLD}, 'etag W/"a"'),
        (200, {"last-modified": OLD, "date": NOW}, "modified 1445412480"),
        (200, {"last-modified": OLD}, None),
        (200, {"last-modified": NOW, "date": NOW}, None),
        (200, {"last-modified": "yesterday", "date": NOW}, None),
        (200, {}, None),
        (304, {"etag": '"a"'}, None),
        (404, {"etag": '"a"'}, None),
        (500, {"etag": '"a"'}, None),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_an_answer_says_of_the_version(status, headers, version):
    assert version_of(status, headers) == version


async def answered(*answers, private=True, path="/x", states=1):
    """The states by a server that gives these answers in turn."""
    asked, left = [], list(answers)

    async def serve(reader, writer):
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(left.pop(0).replace("PORT", str(port)).encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        state = WebState(private=private)
        url = f"http://127.0.0.1:{port}{path}"
        return [await state.state(ACCOUNT, {"Url": url}) for _ in range(states)], asked


def moved(to):
    return f"HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n"


FOUND = 'HTTP/1.1 200 OK\r\netag: "v"\r\n\r\n'


async def test_redirects_are_followed_within_their_scheme_and_a_few_times():
    states, asked = await answered(moved("/y?z=1"), moved("http://127.0.0.1:PORT/w"), FOUND)
    assert states == ['etag "v"']
    assert [each.split("\r\n")[0] for each in asked] == [
        "HEAD /x HTTP/1.1", "HEAD /y?z=1 HTTP/1.1", "HEAD /w HTTP/1.1",
    ]  # fmt: skip
    assert (await answered(*[moved("/x")] * 4, FOUND))[0] == [None]
    for elsewhere in (
        "https://127.0.0.1:PORT/",
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
        "http://a@b/",
    ):
        assert (await answered(moved(elsewhere), FOUND))[0] == [None]


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "nonsense\r\n\r\n",
        "HTTP/1.1 200 OK\r\n" + "x: y\r\n" * 20_000,
        "HTTP/1.1 100 Continue\r\n\r\n",
    ],
    ids=["none", "nonsense", "endless", "unfinished"],
)
async def test_answers_that_are_none_tell_nothing(answer):
    try:
        assert (await answered(answer))[0] == [None]
    except OSError:
        return  # as good: whoever asks takes it for untold


async def test_addresses_of_the_machine_and_its_provider_are_not_asked():
    with pytest.raises(AccessDenied, match="not public"):
        await answered(FOUND, private=False)
    with pytest.raises(AccessDenied):
        await WebState(private=True).state(ACCOUNT, {"Url": "http://169.254.169.254/"})
    with pytest.raises(InvalidInput):
        await WebState(private=True).state(ACCOUNT, {"Url": "gopher://x/"})


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "a").write_text("1")
    return tmp_path / "in"


def later(seconds=10.0):
    """A clock that runs ahead: nothing was changed a moment ago."""
    return FakeClock(SystemClock().now() + seconds)


async def token(folder, clock=None, **given):
    looking = FolderState([str(folder.parent)], clock or later(), **given)
    return await looking.state(ACCOUNT, {"Path": str(folder)})


async def test_a_directory_is_another_when_a_file_comes_goes_or_changes(folder):
    def rewrite():
        before = (folder / "deep" / "a").stat()
        (folder / "deep" / "a").write_text("2")
        os.utime(folder / "deep" / "a", ns=(before.st_atime_ns, before.st_mtime_ns))

    seen = [await token(folder)]
    assert await token(folder) == seen[0]
    changes = [
        (folder / "b").touch,
        (folder / "deep" / "a").touch,
        lambda: (folder / "b").rename(folder / "c"),
        lambda: (folder / "c").write_text("x"),
        rewrite,
        (folder / "c").unlink,
    ]
    for change in changes:
        change()
        seen.append(await token(folder))
    assert None not in seen
    assert len(set(seen)) == len(changes) + 1


async def test_a_directory_that_was_just_changed_is_not_told(folder):
    (folder / "b").touch()
    assert await token(folder, FakeClock((folder / "b").stat().st_ctime + 0.05)) is None
    assert await token(folder, FakeClock((folder / "b").stat().st_ctime + 0.2))


async def test_directories_outside_of_what_is_allowed_and_large_ones_are_not_told(folder):
    (folder / "b").touch()
    assert await token(folder, most=2)
    assert await token(folder, most=1) is None
    looking = FolderState([str(folder)], later())
    with pytest.raises(AccessDenied):
        await looking.state(ACCOUNT, {"Path": str(folder.parent)})
    (folder / "link").symlink_to("/etc")
    with pytest.raises(AccessDenied):
        await looking.state(ACCOUNT, {"Path": str(folder / "link")})
    with pytest.raises(InvalidInput):
        await looking.state(ACCOUNT, {"Path": "in"})
    other = FolderState([f"{'2' * 12}:{folder}"], later())
    with pytest.raises(AccessDenied):
        await other.state(ACCOUNT, {"Path": str(folder)})


async def test_inputs_are_the_same_however_they_are_written():
    same = [b'{"a": 1, "b": [1, 2]}', b'{"b":[1,2],"a":1}', b'\n{"a":1,"b":[1,2]}']
    assert len({await input_digest(each, None) for each in same}) == 1
    assert await input_digest(b"", None) == await input_digest(b"{}", None)
    others = [
        b'{"a":1,"b":[2,1]}',
        b'{"a":"1","b":[1,2]}',
        b"[" * 100_000,
        b'"' + b"x" * 300_000 + b'"',
    ]
    assert len({await input_digest(each, None) for each in [*same, *others]}) == 5
    assert await input_digest(b"{}", "{}") != await input_digest(b"{}", None)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "DependsOn must be a list of at most 16"),
        ([{}] * 17, "at most 16"),
        (["x"], r"DependsOn\[0\] must be an object"),
        ([{"Type": ["s3"]}], r"DependsOn\[0\].Type must be one of s3, http, queue, directory"),
        ([{"Type": "queue", "Queue": "q"}, {"Type": "queue"}], r"DependsOn\[1\].Queue"),
        ([{"Type": "queue", "Queue": "q", "Url": "x"}], "has no member Url"),
        ([{"Type": "http", "Url": "x" * 4097}], "1 to 4096 characters"),
        ([{"Type": "s3", "Bucket": "b", "Key": "a\0"}], "cannot be printed"),
    ],
    ids=lambda value: None if isinstance(value, str) else str(value)[:30],
)
def test_what_is_no_dependency_is_refused(given, said):
    with pytest.raises(InvalidInput, match=said):
        read_specs(given)
