"""Functions with a fault in how they call others, and functions that nearly have it."""

import random

from forerun.profiles.findings import Kind

try:
    from imagined import Execution, scenario
except ImportError:  # Imported from outside of this folder.
    from bench.imagined import Execution, scenario

# One after the other


@scenario(Kind.SEQUENTIAL)
def independent_in_constant_order(run: Execution, _: random.Random) -> None:
    run.work(20)
    run.call("users:80", "/users/*", ms=50)
    run.call("prices:80", "/prices", ms=60)
    run.work(20)


@scenario(Kind.SEQUENTIAL)
def independent_in_any_order(run: Execution, chance: random.Random) -> None:
    run.work(20)
    for host in chance.sample(["users:80", "prices:80", "news:80"], 3):
        run.call(host, ms=40)
    run.work(20)


@scenario(Kind.SEQUENTIAL)
def independent_and_sometimes_alone(run: Execution, chance: random.Random) -> None:
    run.work(20)
    if chance.random() < 0.6:
        run.call("users:80", "/users/*", ms=60)
    run.call("prices:80", "/prices", ms=60)
    run.work(30)


@scenario()
def the_second_needs_the_first(run: Execution, _: random.Random) -> None:
    run.work(20)
    run.call("users:80", "/users/*", ms=50)
    run.call("orders:80", "/orders/*", ms=60)
    run.work(20)


@scenario()
def a_token_is_renewed_first(run: Execution, chance: random.Random) -> None:
    run.work(20)
    if chance.random() < 0.4:
        run.call("login:80", "/token", ms=60, method="POST")
    run.call("orders:80", "/orders/*", ms=60)
    run.work(40)


@scenario()
def already_at_once(run: Execution, _: random.Random) -> None:
    run.work(20)
    run.at_once(("users:80", "/users/*", 50), ("prices:80", "/prices", 50))
    run.work(30)


@scenario()
def work_lies_between(run: Execution, _: random.Random) -> None:
    run.call("users:80", "/users/*", ms=40)
    run.work(60)
    run.call("orders:80", "/orders/*", ms=40)


@scenario()
def too_quick_to_matter(run: Execution, _: random.Random) -> None:
    run.work(100)
    run.call("users:80", ms=2)
    run.call("prices:80", ms=2)


# The same again


@scenario(Kind.REPEATED, also=(Kind.WAITING,))
def the_same_again(run: Execution, chance: random.Random) -> None:
    run.work(40)
    for _ in range(2 if chance.random() < 0.5 else 1):
        run.call("config:80", "/config", ms=30, fingerprint=77)
    run.work(20)


@scenario(also=(Kind.WAITING,))
def read_written_and_read_again(run: Execution, _: random.Random) -> None:
    run.work(40)
    run.call("users:80", "/users/*", ms=20, fingerprint=77)
    run.call("users:80", "/users/*", ms=20, method="PUT")
    run.call("users:80", "/users/*", ms=20, fingerprint=77)


@scenario()
def polled_until_it_is_ready(run: Execution, chance: random.Random) -> None:
    run.work(300)
    for _ in range(chance.randrange(1, 4)):
        run.call("jobs:80", "/jobs/*", ms=20, fingerprint=77)
        run.pause(500)


@scenario()
def tried_again_after_an_error(run: Execution, chance: random.Random) -> None:
    run.work(60)
    if chance.random() < 0.04:
        run.call("users:80", ms=20, fingerprint=77, status=503)
    run.call("users:80", ms=20, fingerprint=77)


@scenario()
def received_from_a_queue(run: Execution, _: random.Random) -> None:
    run.work(80)
    for _ in range(3):
        run.call("sqs.local:80", ms=10, fingerprint=77, service="sqs", operation="ReceiveMessage")


# Loops


@scenario(Kind.LOOP, also=(Kind.WAITING,))
def one_call_for_each_item(run: Execution, chance: random.Random) -> None:
    run.work(30)
    for _ in range(chance.randrange(4, 15)):
        run.call("items:80", "/items/*", ms=10)


@scenario(Kind.LOOP, also=(Kind.WAITING,))
def one_execution_for_each_item(run: Execution, chance: random.Random) -> None:
    run.work(30)
    for _ in range(chance.randrange(4, 15)):
        run.invoke("B", ms=10)


@scenario()
def each_from_another_host(run: Execution, chance: random.Random) -> None:
    run.work(60)
    for number in range(chance.randrange(4, 8)):
        run.call(f"shard{number}:80", "/items", ms=5)
        run.work(8)


@scenario(also=(Kind.WAITING,))
def all_items_at_once(run: Execution, chance: random.Random) -> None:
    run.work(60)
    run.at_once(*(("items:80", "/items/*", 20.0) for _ in range(chance.randrange(4, 15))))


@scenario(also=(Kind.WAITING,))
def page_after_page(run: Execution, chance: random.Random) -> None:
    run.work(40)
    for _ in range(chance.randrange(3, 8)):
        run.call("list:80", "/items", ms=15)


@scenario(also=(Kind.WAITING,))
def follows_links(run: Execution, chance: random.Random) -> None:
    run.work(40)
    for _ in range(chance.randrange(3, 8)):
        run.call("graph:80", "/nodes/*", ms=15)


@scenario()
def three_different_things(run: Execution, _: random.Random) -> None:
    run.work(60)
    for path in ("/a", "/b", "/c"):
        run.call("all:80", path, ms=10)


# Waiting


@scenario(Kind.WAITING)
def waits_most_of_its_time(run: Execution, _: random.Random) -> None:
    run.work(30)
    run.call("slow:80", ms=100)


@scenario()
def waits_a_third_of_its_time(run: Execution, _: random.Random) -> None:
    run.work(100)
    run.call("slow:80", ms=50)


@scenario()
def waits_only_briefly(run: Execution, _: random.Random) -> None:
    run.work(10)
    run.call("slow:80", ms=25)
