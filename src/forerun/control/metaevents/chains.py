"""Which metaevents led to an execution: the job's own run has its rule's chain, and so has what that run causes."""

from collections import OrderedDict

from forerun.metaevents import Fact

MOST = 10_000

Chain = tuple[str, ...]
"""Names of metaevents, each raised because of the job of the one before."""


class Chains:
    """Of the last jobs and of the executions they led to, as far as those are watched."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._requests: OrderedDict[str, Chain] = OrderedDict()
        self._executions: OrderedDict[str, Chain] = OrderedDict()

    def job(self, request_id: str, chain: Chain) -> None:
        """The invocation of this id is the job of the last metaevent of the chain."""
        self._put(self._requests, request_id, chain)

    def of(self, fact: Fact) -> Chain:
        """The chain that led to what happened; empty for none."""
        if not self._requests:
            return ()
        chain = self._requests.get(fact.request_id) or self._executions.get(fact.cause) or ()
        if chain and fact.execution:
            self._put(self._executions, fact.execution, chain)
        return chain

    def _put(self, known: OrderedDict[str, Chain], key: str, chain: Chain) -> None:
        known[key] = chain
        if len(known) > self._most:
            known.popitem(last=False)
