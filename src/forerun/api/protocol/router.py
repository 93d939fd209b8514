"""Which service and which operation a request means.

In this order: the service in the signature's scope (header or presigned), ``X-Amz-Target``, ``Action`` (in the body's form or the
query), the path. Paths are split before they are decoded, so labels may hold encoded slashes. Pure: nothing is read
but the request and the models.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

from forerun.api.protocol.messages import ApiError, HttpRequest, form_pairs
from forerun.api.protocol.models import Models, Operation, ServiceModel, services_signed_as
from forerun.api.protocol.unserved import stand_in

_SCOPE = re.compile(rb"(?:^|[ ,])Credential=[^/,]*/[^/,]*/[^/,]*/([^/,]*)/")
_QUERY_SCOPE = re.compile(
    rb"(?:^|&)X-Amz-Credential=[^&]*?(?:%2F|/)([^&/%]+)(?:%2F|/)aws4_request", re.IGNORECASE
)
_ACTION = re.compile(rb"(?:^|&)Action=([^&]*)")
_FORM = b"application/x-www-form-urlencoded"
_FORM_HEAD = 64 * 1024  # as far as a body is searched for its action


class Route(NamedTuple):
    """An operation (whose ``model`` names service and protocol) and the decoded labels of the path."""

    operation: Operation
    labels: dict[str, str]


class NoRoute(ApiError):
    """No served operation is meant; ``model`` says how to print the answer (``None``: the service is unknown, too)."""

    def __init__(self, code: str, message: str, status: int, model: ServiceModel | None) -> None:
        super().__init__(code, message, status)
        self.model = model


class _Node:
    __slots__ = ("greedy", "label", "literal", "operations")

    def __init__(self) -> None:
        self.literal: dict[bytes, _Node] = {}
        self.label: _Node | None = None
        self.greedy: _Node | None = None
        self.operations: list[_Bound] = []


class _Bound:
    """An operation at the end of a path: its labels in order and what else tells it from its neighbours."""

    def __init__(self, operation: Operation, labels: Sequence[str], query: str) -> None:
        self.operation = operation
        self.labels = tuple(labels)
        self.literals = parse_qsl(query, keep_blank_values=True)

    @cached_property
    def required(self) -> tuple[tuple[str, str], ...]:
        """Required members in the query or the headers, as (place, name)."""
        shape = self.operation.input
        members = shape.members.values() if shape else ()
        return tuple(
            (member.location, member.wire)
            for member in members
            if shape
            and member.name in shape.required
            and member.location in {"querystring", "header"}
        )

    def score(self, request: HttpRequest) -> tuple[int, int, int, bool] | None:
        """Greater is better; ``None`` when a literal of the query is missing."""
        pairs = request.query_pairs if request.query else []
        keys = {key for key, _ in pairs}
        for key, value in self.literals:
            if (key, value) not in pairs and (value or key not in keys):
                return None
        have = sum(
            name in keys if place == "querystring" else name.lower().encode() in request.header
            for place, name in self.required
        )
        return (have - len(self.required), len(self.literals), have, not self.operation.deprecated)


class _Paths:
    """The URI templates of one service as a tree per method."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._roots: dict[str, _Node] = {}
        for operation in operations:
            path, _, query = operation.uri.partition("?")
            node = self._roots.setdefault(operation.method, _Node())
            labels = []
            for part in path.encode().split(b"/")[1:]:
                if part.startswith(b"{"):
                    labels.append(part.strip(b"{}+").decode())
                    node = _descend(node, greedy=part.endswith(b"+}"))
                else:
                    node = node.literal.setdefault(part, _Node())
            node.operations.append(_Bound(operation, labels, query))

    def find(self, request: HttpRequest) -> Route | None:
        root = self._roots.get(request.method)
        if root is None:
            return None
        parts = request.path.split(b"/")[1:]
        route = _walk(root, parts, [], request)
        if route is None and len(parts) > 1 and not parts[-1]:
            route = _walk(root, parts[:-1], [], request)
        return route


def _descend(node: _Node, *, greedy: bool) -> _Node:
    if greedy:
        node.greedy = node.greedy or _Node()
        return node.greedy
    node.label = node.label or _Node()
    return node.label


def _walk(
    node: _Node, parts: list[bytes], labels: list[bytes], request: HttpRequest
) -> Route | None:
    if not parts:
        return _choose(node, labels, request)
    first, rest = parts[0], parts[1:]
    below = node.literal.get(first)
    found = _walk(below, rest, labels, request) if below is not None else None
    if found is None and node.label is not None and first:
        found = _walk(node.label, rest, [*labels, first], request)
    if found is None and node.greedy is not None and (first or rest):
        found = _greedy(node.greedy, parts, labels, request)
    return found


def _greedy(
    node: _Node, parts: list[bytes], labels: list[bytes], request: HttpRequest
) -> Route | None:
    """A greedy label takes all of the path but what literals after it need."""
    for taken in range(len(parts), 0, -1):
        found = _walk(node, parts[taken:], [*labels, b"/".join(parts[:taken])], request)
        if found is not None:
            return found
        if not node.literal:
            break
    return None


def _choose(node: _Node, labels: list[bytes], request: HttpRequest) -> Route | None:
    bounds = node.operations
    if len(bounds) == 1 and not bounds[0].literals:
        best = bounds[0]
    else:
        scored = [(score, bound) for bound in bounds if (score := bound.score(request)) is not None]
        if not scored:
            return None
        best = max(scored, key=lambda pair: pair[0])[1]
    return Route(
        best.operation,
        {
            name: unquote(value.decode("latin-1"))
            for name, value in zip(best.labels, labels, strict=True)
        },
    )


class Router:
    """Routes among ``services`` (names of models). Models are read on first use."""

    def __init__(self, models: Models, services: Sequence[str]) -> None:
        self._models = models
        self._services = tuple(services)
        self._paths: dict[str, _Paths] = {}

    def route(self, request: HttpRequest) -> Route:
        """The operation meant. Raises ``NoRoute``."""
        scope = scope_service(request)
        if scope is None:
            names: Sequence[str] = self._services
        else:
            names = [name for name in services_signed_as(scope) if name in self._services]
            if not names:
                raise NoRoute(
                    "UnknownOperationException",
                    f"The service '{scope}' is not served here",
                    404,
                    stand_in(scope, request, action=_action(request) is not None),
                )
        target = request.header.get(b"x-amz-target")
        if target is not None:
            return self._by_target(names, target.decode("latin-1"))
        action = _action(request) if scope is None or self._has_action(names) else None
        if action is not None:
            return self._by_action(names, action)
        return self._by_path(names, request, known=scope is not None)

    def route_in(self, service: str, request: HttpRequest) -> Route:
        """The operation of a service whose operations are told by path alone. Raises ``NoRoute``."""
        return self._by_path((service,), request, known=True)

    def _has_action(self, names: Sequence[str]) -> bool:
        return any(_speaks_query(self._models.load(name)) for name in names)

    def _by_target(self, names: Sequence[str], target: str) -> Route:
        prefix, _, operation = target.rpartition(".")
        for name in names:
            model = self._models.load(name)
            if model.target_prefix == prefix and model.protocol == "json":
                if operation in model.operations:
                    return Route(model.operations[operation], {})
                raise NoRoute(
                    "UnknownOperationException", f"Unknown operation {operation}", 400, model
                )
        only = self._models.load(names[0]) if len(names) == 1 else None
        raise NoRoute(
            "UnknownOperationException",
            f"Unknown target {target}",
            404 if only is None else 400,
            only,
        )

    def _by_action(self, names: Sequence[str], action: str) -> Route:
        model = None
        for name in names:
            model = self._models.load(name)
            if not _speaks_query(model):
                continue
            model = self._models.load(name, "query")
            if action in model.operations:
                return Route(model.operations[action], {})
        shown = model if len(names) == 1 and model is not None else None
        version = f" for version {shown.api_version}" if shown else ""
        raise NoRoute("InvalidAction", f"Could not find operation {action}{version}", 400, shown)

    def _by_path(self, names: Sequence[str], request: HttpRequest, *, known: bool) -> Route:
        for name in names:
            model = self._models.load(name)
            if not model.protocol.startswith("rest-") or (not known and model.name == "s3"):
                continue
            paths = self._paths.get(name)
            if paths is None:
                paths = self._paths[name] = _Paths(model.operations.values())
            found = paths.find(request)
            if found is not None:
                return found
        shown = self._models.load(names[0]) if known else None
        if shown is not None and shown.protocol == "rest-xml":
            raise NoRoute(
                "MethodNotAllowed",
                "The specified method is not allowed against this resource.",
                405,
                shown,
            )
        if shown is not None and shown.protocol == "query":
            raise NoRoute(
                "MissingAction",
                "The request is missing an action or a required parameter.",
                400,
                shown,
            )
        path = request.path.decode("latin-1")[:256]
        raise NoRoute(
            "UnknownOperationException", f"Unknown operation: {request.method} {path}", 404, shown
        )


def scope_service(request: HttpRequest) -> str | None:
    """The service named in the credential scope of the signature, ``None`` for an unsigned request."""
    authorization = request.header.get(b"authorization")
    found = _SCOPE.search(authorization) if authorization is not None else None
    if found is None and request.query:
        found = _QUERY_SCOPE.search(request.query)
    return found[1].decode("latin-1") if found else None


def _action(request: HttpRequest) -> str | None:
    found = _ACTION.search(request.query)
    if found is None and request.header.get(b"content-type", _FORM).startswith(_FORM):
        found = _ACTION.search(request.body, 0, _FORM_HEAD)
    return form_pairs(b"a=" + found[1])[0][1] if found else None


def _speaks_query(model: ServiceModel) -> bool:
    return model.protocol == "query" or "awsQueryCompatible" in model.metadata
