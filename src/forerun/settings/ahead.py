"""Settings of what is done ahead of calls and beside them: foresight, scaling, and how packages are kept."""

from dataclasses import dataclass

from forerun.settings.bounds import in_range


@dataclass(frozen=True, kw_only=True, slots=True)
class ForesightSettings:
    """How far the platform acts ahead of calls, and what that may cost."""

    enabled: bool = True
    """Whether it does at all; otherwise idle sandboxes are kept by the host's own rule and nothing is made ahead."""

    memory_price: float = 300.0
    """GB-seconds of idle memory that a second less of waiting for a start is worth: how far sandboxes are kept and made ahead."""

    preload_likelihood: float = 0.5
    """How likely a running execution must be to call a function for its code to be loaded ahead."""

    preload_samples: int = 20
    """Executions of the caller that must have been watched before that."""

    preload_margin_s: float = 2.0
    """Seconds that a preloaded sandbox waits beyond the time in which the call was to be expected."""

    preload_depth: int = 4
    """Calls along a chain that are looked ahead."""

    leader_correlation: float = 0.7
    """How closely calls must follow those of another function for that one to lead it, from 0 to 1."""

    periodic_misses: int = 3
    """Expected calls in a row that do not come until a period is no longer believed in."""

    defer_idle_percent: float = 50.0
    """Percent of the memory for sandboxes that must be free for deferrable events to be run before their latest start."""

    def __post_init__(self) -> None:
        in_range("foresight.memory_price", self.memory_price, 0, 1e9)
        in_range("foresight.preload_likelihood", self.preload_likelihood, 0.01, 1)
        in_range("foresight.preload_samples", self.preload_samples, 1, 1_000_000)
        in_range("foresight.preload_margin_s", self.preload_margin_s, 0, 3600)
        in_range("foresight.preload_depth", self.preload_depth, 0, 16)
        in_range("foresight.leader_correlation", self.leader_correlation, 0.1, 1)
        in_range("foresight.periodic_misses", self.periodic_misses, 1, 100)
        in_range("foresight.defer_idle_percent", self.defer_idle_percent, 0, 100)


@dataclass(frozen=True, kw_only=True, slots=True)
class ScalingSettings:
    """How provisioned concurrency follows its use where target tracking is configured; the defaults are AWS's."""

    sample_s: float = 1.0
    """Seconds from one look at what is in use to the next, and at most until a scheduled action that is due is carried out."""

    period_s: float = 60.0
    """Seconds that a measurement lasts."""

    out_periods: int = 3
    """Periods in a row that must be above the target before more is provisioned."""

    in_periods: int = 15
    """Periods in a row that must be below nine tenths of the target before less is provisioned."""

    def __post_init__(self) -> None:
        in_range("scaling.sample_s", self.sample_s, 0.05, 60)
        in_range("scaling.period_s", self.period_s, self.sample_s, 3600)
        in_range("scaling.out_periods", self.out_periods, 1, 1000)
        in_range("scaling.in_periods", self.in_periods, 1, 1000)


@dataclass(frozen=True, kw_only=True, slots=True)
class PackagingSettings:
    """When what packages have in common is stored and unpacked once, and by what that is decided."""

    share_accounts: bool = False
    """Whether equal content of different accounts is kept once, too: what a file's number of names tells is then told across
    accounts."""

    least_others: int = 1
    """Other functions that must use a distribution for it to be split off."""

    transfer_mb_s: float = 200.0
    """Megabytes a second at which packages come to a host, which here is the speed of unpacking."""

    file_ms: float = 5.0
    """Milliseconds that each further file of a package costs."""

    cached_by_one: float = 0.5
    """How likely one other function that uses a distribution has brought it to the host already."""

    grace_s: float = 3600.0
    """Seconds that a package that was split is kept whole, too, so that a backup that is being made is complete."""

    def __post_init__(self) -> None:
        in_range("packaging.least_others", self.least_others, 1, 100)
        in_range("packaging.transfer_mb_s", self.transfer_mb_s, 0.01, 1e6)
        in_range("packaging.file_ms", self.file_ms, 0.001, 60_000)
        in_range("packaging.cached_by_one", self.cached_by_one, 0.001, 0.999)
        in_range("packaging.grace_s", self.grace_s, 0, 1e7)


@dataclass(frozen=True, kw_only=True, slots=True)
class MetaeventSettings:
    """Bounds of the rules over what the platform knows of itself, so that no rule runs jobs without end."""

    max_depth: int = 8
    """Metaevents in one chain, each raised because of the job of the one before; the next one's job is not run."""

    rule_per_minute: float = 10.0
    """Jobs of one rule in a minute, all at once if need be."""

    account_per_minute: float = 100.0
    """Jobs of all rules of an account in a minute."""

    max_rules: int = 1000
    """Rules of one account."""

    def __post_init__(self) -> None:
        in_range("metaevents.max_depth", self.max_depth, 1, 32)
        in_range("metaevents.rule_per_minute", self.rule_per_minute, 1, 1e6)
        in_range("metaevents.account_per_minute", self.account_per_minute, 1, 1e6)
        in_range("metaevents.max_rules", self.max_rules, 0, 100_000)
