"""What buses and rules are called, by name and by ARN. Pure."""

from typing import NamedTuple

from forerun.errors import InvalidInput, NotFound
from forerun.model import Arn
from forerun.storage.buses import DEFAULT

SERVICE = "events"


class BusName(NamedTuple):
    """A bus, whosever it is."""

    account: str
    name: str


class RuleName(NamedTuple):
    """A rule of a bus."""

    bus: str
    name: str


class Place(NamedTuple):
    """In which region, for which account something is named."""

    region: str
    account: str

    def bus_arn(self, name: str) -> str:
        """``arn:aws:events:REGION:ACCOUNT:event-bus/NAME``."""
        return f"arn:aws:events:{self.region}:{self.account}:event-bus/{name}"

    def rule_arn(self, bus: str, name: str) -> str:
        """``arn:aws:events:REGION:ACCOUNT:rule/[BUS/]NAME``; the default bus is not named."""
        within = "" if bus == DEFAULT else f"{bus}/"
        return f"arn:aws:events:{self.region}:{self.account}:rule/{within}{name}"

    def bus(self, text: str | None) -> BusName:
        """A bus by its name or ARN, the default one for ``None``. ``NotFound`` for one of another region."""
        if not text:
            return BusName(self.account, DEFAULT)
        if not text.startswith("arn:"):
            return BusName(self.account, text)
        arn = Arn.parse(text)
        kind, _, name = arn.resource.partition("/")
        if arn.service != SERVICE or kind != "event-bus" or not name:
            raise InvalidInput(f"{text} is not the ARN of an event bus")
        if arn.region != self.region:
            raise no_bus(name)
        return BusName(arn.account, name)

    def own_bus(self, text: str | None) -> str:
        """As ``bus``, which must be of the account; ``NotFound`` when it is another's."""
        found = self.bus(text)
        if found.account != self.account:
            raise no_bus(found.name)
        return found.name

    def tagged(self, text: str) -> BusName | RuleName:
        """A bus or a rule of the account by its ARN. ``InvalidInput`` for what is none, ``NotFound`` for another's."""
        arn = Arn.parse(text)
        kind, _, rest = arn.resource.partition("/")
        if arn.service != SERVICE or kind not in ("event-bus", "rule") or not rest:
            raise InvalidInput(f"Parameter {text} is not valid. Reason: it names no rule or bus")
        if (arn.region, arn.account) != self:
            raise NotFound(f"{text} does not exist in this account and region.")
        if kind == "event-bus":
            return BusName(self.account, rest)
        bus, _, name = rest.rpartition("/")
        return RuleName(bus or DEFAULT, name)


def no_bus(name: str) -> NotFound:
    """The error for a bus that is not there."""
    return NotFound(f"Event bus {name} does not exist.")


def no_rule(bus: str, name: str) -> NotFound:
    """The error for a rule that is not there."""
    return NotFound(f"Rule {name} does not exist on EventBus {bus}.")
