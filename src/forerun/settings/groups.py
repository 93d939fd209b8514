"""The settings themselves, grouped by meaning; the sentence after each says its unit and the reason for its default."""

import dataclasses
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Self

from forerun.errors import InvalidInput
from forerun.settings.bounds import in_range

SandboxMode = Literal["auto", "jail", "process"]
EgressPolicy = Literal["none", "platform", "open"]

POOL_MAX = 10_000
_ACCOUNT_POOL = re.compile(
    r"(?P<account>[0-9]{12}):(?P<pool>[a-z0-9.]+(\+[a-z0-9]+)?):(?P<count>[0-9]{1,5}):(?P<policy>borrow|throttle)"
)
_FOLDER_ROOT = re.compile(r"([0-9]{12}:)?/[^\0]*")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+){1,2}-\d\Z")


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerSettings:
    """Where the platform listens and keeps its state, and how it treats connections."""

    host: str = "127.0.0.1"
    """Address to listen on. Loopback, because whoever holds a key may run code here: opening it is a decision."""

    port: int = 9700
    """TCP port; 0 takes a free one, which the ready line names."""

    data_dir: Path = Path("~/.local/share/forerun")
    """Directory of database, code, keys and credentials; made with mode 0700. ``$XDG_DATA_HOME/forerun`` if that is set."""

    region: str = "us-home-1"
    """Region in ARNs and signatures. Fits AWS's grammar and is none of AWS's, so that no tool falls back to AWS's hosts."""

    max_connections: int = 4096
    """Open client connections; more are answered 503, so that file descriptors last for sandboxes."""

    max_header_bytes: int = 64 * 1024
    """Bytes of a request's line and headers. AWS's client context alone may have 3,583."""

    max_body_bytes: int = 72 * 1024 * 1024
    """Bytes of a request body: a 50 MB package in base64, with room for the JSON around it."""

    header_timeout_s: float = 10.0
    """Seconds for a request's head to arrive, so that slow clients hold no connection for ever."""

    body_timeout_s: float = 60.0
    """Seconds between two pieces of a request body."""

    idle_timeout_s: float = 75.0
    """Seconds a kept-alive connection may be silent; longer than the 60 of common proxies, so that they close first."""

    drain_s: float = 30.0
    """Seconds that calls in flight get to finish after SIGTERM."""

    json_logs: bool = False
    """The server's own log as JSON lines instead of text."""

    def __post_init__(self) -> None:
        in_range("server.port", self.port, 0, 65535)
        in_range("server.max_connections", self.max_connections, 1, 1_000_000)
        in_range("server.max_header_bytes", self.max_header_bytes, 4096, 1 << 20)
        in_range("server.max_body_bytes", self.max_body_bytes, 1 << 20, 1 << 30)
        for name in ("header_timeout_s", "body_timeout_s", "idle_timeout_s"):
            in_range(f"server.{name}", getattr(self, name), 1, 3600)
        in_range("server.drain_s", self.drain_s, 0, 3600)
        if not _REGION.match(self.region):
            raise InvalidInput(
                f"server.region {self.region!r} does not fit AWS's grammar, as us-home-1 does"
            )

    @property
    def database_path(self) -> Path:
        """The database; the server and offline administration open the same one."""
        return self.data_dir / "forerun.db"

    @property
    def traces_path(self) -> Path:
        """The database of traces, activity and profiles, which may be deleted."""
        return self.data_dir / "traces.db"

    @property
    def messages_path(self) -> Path:
        """The database of queues and all other sources of events, and of what is on its way from them."""
        return self.data_dir / "messages.db"

    @property
    def sealing_key_path(self) -> Path:
        """The key that secrets at rest are sealed with (0600)."""
        return self.data_dir / "sealing.key"

    @property
    def credentials_path(self) -> Path:
        """The file with endpoint and first key, written by the server (0600) and read by the command line."""
        return self.data_dir / "credentials.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class LimitSettings:
    """What one account may ask for; the defaults are AWS's, so that what works here works there."""

    account_concurrency: int = 1000
    """Invocations of one account running at once; beyond it, 429."""

    unreserved_concurrency: int = 100
    """Concurrency that reservations must leave for the account's other functions."""

    code_zipped_bytes: int = 50 * 1024 * 1024
    """A package as uploaded."""

    code_unzipped_bytes: int = 250 * 1024 * 1024
    """A package with its layers, unpacked; also the bound against zip bombs."""

    code_storage_bytes: int = 75 * 1024**3
    """All packages and layers of one account."""

    bucket_bytes: int = 100 * 1024**3
    """All objects in the buckets of one account, with uploads that are under way."""

    queued_events: int = 1_000_000
    """Accepted Event invocations that wait; beyond it, 429, so that the disk is never filled by a queue."""

    queued_bytes: int = 2 * 1024**3
    """Their payloads together."""

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            in_range(f"limits.{item.name}", getattr(self, item.name), 1, 1 << 50)
        if self.unreserved_concurrency > self.account_concurrency:
            raise InvalidInput(
                "limits.unreserved_concurrency must not exceed limits.account_concurrency"
            )


class AccountPool(NamedTuple):
    """Unassigned sandboxes of ``pool`` (a runtime, or a runtime with ``+sdk``) that one account alone gets."""

    account: str
    pool: str
    floor: int
    borrow: bool

    @property
    def name(self) -> str:
        """As which it is held: ``RUNTIME@ACCOUNT``."""
        return f"{self.pool}@{self.account}"

    @classmethod
    def read(cls, text: str) -> Self:
        """``ACCOUNT:RUNTIME:COUNT:borrow`` or ``...:throttle``; ``InvalidInput`` for anything else."""
        found = _ACCOUNT_POOL.fullmatch(text)
        if found is None or not 1 <= int(found["count"]) <= POOL_MAX:
            raise InvalidInput(
                "host.account_pools must be ACCOUNT:RUNTIME:COUNT:borrow or ACCOUNT:RUNTIME:COUNT:throttle, with an "
                f"account of 12 digits and a count from 1 to {POOL_MAX}, not {text!r}"
            )
        return cls(
            found["account"], found["pool"], int(found["count"]), found["policy"] == "borrow"
        )

    @classmethod
    def read_all(cls, texts: Iterable[str]) -> list[Self]:
        """Several; as ``read``."""
        return [cls.read(text) for text in texts]


@dataclass(frozen=True, kw_only=True, slots=True)
class HostSettings:
    """How a machine divides its memory and how long it keeps sandboxes."""

    memory_mb: int = 0
    """MiB that sandboxes may book together; 0 takes 80 % of the machine, the rest is the system's and ours."""

    machine_floor_percent: float = 5.0
    """Percent of the machine's memory that stay free: below, idle sandboxes go, whatever they have booked; 0 for never."""

    keep_alive_min_s: float = 60.0
    """Seconds an idle sandbox of a rarely called function is kept."""

    keep_alive_max_s: float = 600.0
    """Seconds an idle sandbox of a busy function is kept; a cold start costs milliseconds, so memory is worth more."""

    pool_min: int = 2
    """Unassigned sandboxes held ready for each runtime in use when nothing happens."""

    pool_max: int = 64
    """Unassigned sandboxes per runtime when requests come fast; each idles at about 4 MB."""

    account_pools: tuple[str, ...] = ()
    """Unassigned sandboxes that one account alone gets, as ``ACCOUNT:RUNTIME:COUNT:borrow``: its calls take them first, and
    from what all share when they are used up; with ``throttle`` in place of ``borrow`` they are answered 429 then. Those of
    ``RUNTIME+sdk`` have imported the AWS SDK; an account without such uses those of the runtime. In a cluster it is the control
    planes' setting, for all hosts together."""

    concurrent_creations: int = 8
    """Sandboxes being made at once; more only contend for the kernel's namespace locks."""

    max_sandboxes: int = 2000
    """Sandboxes on this machine, whatever their memory: processes and namespaces are finite, too."""

    waiting_calls: int = 1000
    """Calls that may wait for memory at once; beyond it, 429 at once instead of a late time-out."""

    wait_s: float = 10.0
    """Seconds a call waits for memory before it is refused."""

    def __post_init__(self) -> None:
        in_range("host.memory_mb", self.memory_mb, 0, 1 << 24)
        in_range("host.machine_floor_percent", self.machine_floor_percent, 0, 90)
        in_range("host.keep_alive_min_s", self.keep_alive_min_s, 0, 86400)
        in_range("host.keep_alive_max_s", self.keep_alive_max_s, self.keep_alive_min_s, 86400)
        in_range("host.pool_min", self.pool_min, 0, POOL_MAX)
        in_range("host.pool_max", self.pool_max, self.pool_min, POOL_MAX)
        named = {pool.name for pool in AccountPool.read_all(self.account_pools)}
        if len(named) < len(self.account_pools):
            raise InvalidInput("host.account_pools names a runtime of an account twice")
        in_range("host.concurrent_creations", self.concurrent_creations, 1, 256)
        in_range("host.max_sandboxes", self.max_sandboxes, 1, 100_000)
        in_range("host.waiting_calls", self.waiting_calls, 0, 100_000)
        in_range("host.wait_s", self.wait_s, 0, 900)


@dataclass(frozen=True, kw_only=True, slots=True)
class SandboxSettings:
    """What a sandbox is made of and what it may do."""

    mode: SandboxMode = "auto"
    """``jail`` isolates with the kernel and refuses to start where it cannot; ``process`` does not isolate code;
    ``auto`` takes the jail when the machine can and says so when it cannot."""

    egress: EgressPolicy = "platform"
    """What functions reach that carry no tag ``forerun:egress``: ``none``, the ``platform``'s API only, or ``open``."""

    init_timeout_s: float = 10.0
    """Seconds for the init phase, as on AWS."""

    start_timeout_s: float = 10.0
    """Seconds for an unassigned sandbox, or an interpreter behind it, to become ready."""

    preload: tuple[str, ...] = ()
    """Further trusted modules imported once per interpreter, before sandboxes are forked from it; they start faster,
    and every sandbox carries them. The AWS SDK needs no mention: functions that import it get a pool of their own."""

    zygotes: int = 4
    """Further zygotes of each Python, which import what functions import most of the standard library and the SDK; 0 for none."""

    zygote_budget_mb: int = 256
    """MB for these zygotes of one Python and the sandboxes that wait in their pools."""

    zygote_memory_s: float = 3600.0
    """Seconds after which a start counts for a third when these zygotes are chosen."""

    zygote_look_s: float = 10.0
    """Seconds from one choice to the next."""

    search_path: str = "/usr/local/bin:/usr/bin"
    """Folders to look for interpreters in, as in ``PATH``, which is taken when nothing else is given."""

    home: Path = Path("/")
    """Where ``.pyenv/versions`` may be; ``HOME`` when nothing else is given."""

    def __post_init__(self) -> None:
        in_range("sandbox.init_timeout_s", self.init_timeout_s, 0.1, 900)
        in_range("sandbox.start_timeout_s", self.start_timeout_s, 0.1, 900)
        in_range("sandbox.zygotes", self.zygotes, 0, 16)
        in_range("sandbox.zygote_budget_mb", self.zygote_budget_mb, 0, 1 << 20)
        in_range("sandbox.zygote_memory_s", self.zygote_memory_s, 1, 1e7)
        in_range("sandbox.zygote_look_s", self.zygote_look_s, 0.1, 3600)


@dataclass(frozen=True, kw_only=True, slots=True)
class EventSettings:
    """How asynchronous invocations are run, and messages delivered."""

    retry_s: float = 60.0
    """Seconds until an event whose function failed is tried again, and twice that until the last try; AWS's."""

    at_once: int = 100
    """Events running at once where their handlers take long; short ones need fewer, so that sandboxes stay few."""

    folders: tuple[str, ...] = ()
    """Directories in and below which accounts may have folders watched, as ``/srv/inbox``, or ``ACCOUNT:/srv/inbox`` for one
    account alone. None by default: names and sizes of files are told to functions."""

    url_timeout_s: float = 15.0
    """Seconds that a URL which messages are posted to has for its answer."""

    private_urls: bool = True
    """Whether messages may be posted to addresses that are not public: this machine, the local network. What a machine's
    provider tells it of itself (169.254.169.254 and the like) is refused in any case."""

    dead_letters: int = 100_000
    """Dead letters that the platform keeps of an account; the oldest goes first."""

    dead_letter_bytes: int = 1024**3
    """Bytes of an account's dead letters."""

    dead_letter_days: float = 14.0
    """Days that dead letters are kept."""

    def __post_init__(self) -> None:
        for root in self.folders:
            if _FOLDER_ROOT.fullmatch(root) is None:
                raise InvalidInput(
                    f"events.folders must be absolute paths, or ACCOUNT:PATH with an account of 12 digits, not {root!r}"
                )
        in_range("events.retry_s", self.retry_s, 0.01, 3600)
        in_range("events.at_once", self.at_once, 1, 10_000)
        in_range("events.url_timeout_s", self.url_timeout_s, 0.1, 900)
        in_range("events.dead_letters", self.dead_letters, 1, 1 << 40)
        in_range("events.dead_letter_bytes", self.dead_letter_bytes, 1 << 20, 1 << 50)
        in_range("events.dead_letter_days", self.dead_letter_days, 0.001, 3653)


@dataclass(frozen=True, kw_only=True, slots=True)
class RetentionSettings:
    """How long what happened is kept; the oldest goes first."""

    log_bytes: int = 2 * 1024**3
    """Bytes of all log events together; a noisy function cannot fill the disk."""

    invocation_days: float = 14.0
    """Days that records of invocations are kept."""

    invocation_rows: int = 2_000_000
    """Records of invocations kept, at about 400 bytes each."""

    def __post_init__(self) -> None:
        in_range("retention.log_bytes", self.log_bytes, 1 << 20, 1 << 50)
        in_range("retention.invocation_days", self.invocation_days, 0.01, 3653)
        in_range("retention.invocation_rows", self.invocation_rows, 1000, 1 << 40)


@dataclass(frozen=True, kw_only=True, slots=True)
class MonitoringSettings:
    """Which executions are watched, and how long what was seen is kept."""

    enabled: bool = True
    """Whether executions are monitored at all; without it no trace information is added to any call."""

    min_calls_per_hour: float = 0.0
    """Functions that are called less often are not monitored, unless their tag says so."""

    function_per_s: float = 5.0
    """Executions of one function that are monitored in a second; those of rarer functions all are."""

    total_per_s: float = 100.0
    """Executions of all functions that are monitored in a second; beyond it each gets less."""

    max_calls: int = 1000
    """Outgoing calls that are kept of one execution."""

    max_depth: int = 64
    """Executions in one chain that are monitored, so that a loop has an end."""

    trace_days: float = 7.0
    """Days that traces are kept."""

    trace_bytes: int = 2 * 1024**3
    """Bytes that traces may take on disk; the oldest go first."""

    activity_days: float = 30.0
    """Days that the counts per minute of functions are kept."""

    otlp_endpoint: str = ""
    """Where spans are exported to, as ``http://collector:4318``; nowhere when empty."""

    def __post_init__(self) -> None:
        in_range("monitoring.min_calls_per_hour", self.min_calls_per_hour, 0, 1e9)
        in_range("monitoring.function_per_s", self.function_per_s, 0.001, 1e6)
        in_range("monitoring.total_per_s", self.total_per_s, 0.001, 1e6)
        in_range("monitoring.max_calls", self.max_calls, 1, 100_000)
        in_range("monitoring.max_depth", self.max_depth, 1, 255)
        in_range("monitoring.trace_days", self.trace_days, 0.001, 3653)
        in_range("monitoring.trace_bytes", self.trace_bytes, 1 << 20, 1 << 50)
        in_range("monitoring.activity_days", self.activity_days, 0.01, 3653)
