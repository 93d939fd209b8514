"""Does it matter how many functions are stored? The same calls to a server with 10 and to one with 100,000, in turns."""

import asyncio
import random
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
from case import Run
from client import BadAnswer, Connection, Samples, Target, first_calls
from results import Line
from server import Server

from forerun.storage import Sealer, load_or_create_key, open_sqlite
from forerun.storage.functions import FunctionStore

# Beyond what two servers with equal contents differ by on a busy machine.
NOISE = 1.15
FEW = 10


def _name(index: int) -> str:
    return f"stored-{index:06d}"


async def _fill(data: Path, account: str, count: int) -> None:
    """Copy the first function under many names, through the stores."""
    db = await open_sqlite(data / "forerun.db")
    try:
        store = FunctionStore(db, Sealer(load_or_create_key(data / "sealing.key")))
        found = await store.find(account, _name(0))
        assert found is not None
        record, version = found

        async def copy(index: int) -> None:
            name = _name(index)
            function = msgspec.structs.replace(
                version.function, name=name, revision_id=f"{index:032x}"
            )
            await store.create(
                msgspec.structs.replace(record, name=name),
                [msgspec.structs.replace(version, function=function)],
            )

        for begin in range(FEW, count, 1000):
            await asyncio.gather(*(copy(index) for index in range(begin, min(count, begin + 1000))))
    finally:
        await db.close()


def _spread(server: Server, names: list[str], calls: int) -> Samples:
    """GetFunction of these names in random order over one connection for each signature."""
    targets = [
        Target(f"{server.endpoint}/2015-03-31/functions/{name}", b"", method="GET").signed(
            server.environment
        )
        for name in names
    ]
    return _calls(targets, calls)


def _calls(targets: list[Target], calls: int) -> Samples:
    samples = Samples()
    chosen = random.Random(1).choices(targets, k=calls)
    with closing(Connection(targets[0])) as connection:
        for target in chosen:
            connection.aim(target)
            try:
                samples.take(connection.once(), connection)
            except (BadAnswer, OSError) as error:
                samples.fail(error)
                break
    return samples


def stored_functions(run: Run) -> Iterator[Line]:
    """Medians of GetFunction and of warm Invoke with 100,000 functions over those with 10."""
    count = run.size(100_000, 20_000)
    with Server() as few, Server() as many:
        for server in (few, many):
            for index in range(FEW):
                server.create(_name(index))
        many.stop()
        began = time.monotonic()
        asyncio.run(_fill(many.data, many.account, count))
        filled = time.monotonic() - began
        many.start()
        warm = [_name(index) for index in range(FEW)]
        for server in (few, many):
            first_calls([server.target(name) for name in warm])
        some = random.Random(2).sample(range(count), 200)
        names = {"few": warm, "many": [_name(index) for index in some]}
        calls = run.size(1000, 300)
        get = {"few": [], "many": []}
        invoke = {"few": [], "many": []}
        errors, last = 0, ""
        for _ in run.rounds(5, 3):
            for key, server in (("few", few), ("many", many)):
                got = _spread(server, names[key], calls)
                invoked = _calls([server.target(name) for name in warm], calls)
                get[key].append(got.ms(0.5))
                invoke[key].append(invoked.ms(0.5))
                errors += got.errors + invoked.errors
                last = got.last_error or invoked.last_error or last
        restart = many.ready_s
    note = f"{count:,} against {FEW}; {errors} errors {last}".strip()
    yield run.median("GetFunction, p50 with few", get["few"], "ms")
    yield run.median(
        "GetFunction, p50 with many", get["many"], "ms", note=f"filled in {filled:.0f} s"
    )
    yield _ratio(run, "GetFunction", get, note)
    yield run.median("Invoke, p50 with few", invoke["few"], "ms")
    yield run.median("Invoke, p50 with many", invoke["many"], "ms")
    yield _ratio(run, "Invoke", invoke, note)
    yield run.line("start to ready with many", restart, "s")


def _ratio(run: Run, what: str, measured: dict[str, list[float]], note: str) -> Line:
    ratios = [many / few for few, many in zip(measured["few"], measured["many"], strict=True)]
    return run.median(f"{what}, many over few", ratios, "ratio", NOISE, note=note)
