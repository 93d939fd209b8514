"""A routed HTTP request becomes the operation's typed request, checked against the service model.

What a handler gets has one attribute per member of the operation's input, named as AWS names it, ``None`` where
absent; blobs are bytes, times are epoch seconds. Everything the model refuses is answered with AWS's code
and sentence (``ApiError``).
"""

from typing import Any, NoReturn

import msgspec

from forerun.api.protocol.form_reader import MAX_PARAMETERS, BadForm, read_form
from forerun.api.protocol.messages import HttpRequest, form_pairs
from forerun.api.protocol.models import Member, Operation, ServiceModel
from forerun.api.protocol.router import Route
from forerun.api.protocol.timestamps import hook
from forerun.api.protocol.types import Compiler, InputPlan
from forerun.api.protocol.validation import Diagnosis, malformed
from forerun.api.protocol.xml_reader import BadXml, parse_xml
from forerun.api.protocol.xml_values import read_structure

_REFUSED = (msgspec.ValidationError, ValueError, TypeError, OverflowError, RecursionError)


class Parser:
    """Parses requests; keeps the compiled types of the operations it has seen."""

    def __init__(self) -> None:
        self._compilers: dict[int, Compiler] = {}
        self._plans: dict[Operation, InputPlan] = {}

    def plan(self, operation: Operation) -> InputPlan:
        """The compiled input of an operation (made on first use)."""
        found = self._plans.get(operation)
        if found is None:
            model = operation.model
            compiler = self._compilers.setdefault(
                id(model), Compiler(wire_names=model.protocol in {"json", "rest-json"})
            )
            found = self._plans[operation] = InputPlan(operation, compiler)
        return found

    def parse(self, route: Route, request: HttpRequest) -> Any:
        """The operation's request struct. Raises ``ApiError``."""
        operation = route.operation
        plan = self.plan(operation)
        if operation.model.protocol == "query":
            return _form(operation, plan, request)
        values = _located(plan, route, request) if plan.located else {}
        if plan.decoder is not None:
            return _json(operation.model, plan, values, request.body)
        if plan.payload is not None:
            _payload(operation.model, plan, plan.payload, values, request.body)
        elif (
            operation.model.protocol == "rest-xml"
            and request.body
            and plan.shape
            and plan.shape.body_members()
        ):
            values.update(read_structure(plan.shape, _xml(operation.model, request.body)))
        return _convert(operation.model, plan, values)


def _json(model: ServiceModel, plan: InputPlan, values: dict[str, Any], body: bytes) -> Any:
    assert plan.decoder is not None
    body = body or b"{}"
    try:
        found = plan.decoder.decode(body)
        if plan.located_type is not None:
            located = msgspec.convert(values, plan.located_type, strict=False, dec_hook=hook)
            for member in plan.located:
                setattr(found, member.name, getattr(located, member.name))
    except _REFUSED as error:
        _explain_json(model, plan, values, body, error)
    return found


def _explain_json(
    model: ServiceModel, plan: InputPlan, values: dict[str, Any], body: bytes, error: Exception
) -> NoReturn:
    assert plan.shape is not None
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as bad:
        raise malformed(model, f"Could not parse request body into json: {bad}") from None
    diagnosis = Diagnosis(model, wire_names=True)
    diagnosis.structure(plan.shape, values, "", as_text=True, members=plan.located)
    located = set(plan.located)
    members = [member for member in plan.shape.members.values() if member not in located]
    diagnosis.structure(plan.shape, decoded, "", as_text=False, members=members)
    raise diagnosis.error(str(error)) from None


def _convert(model: ServiceModel, plan: InputPlan, values: dict[str, Any]) -> Any:
    try:
        return msgspec.convert(values, plan.request_type, strict=False, dec_hook=hook)
    except _REFUSED as error:
        diagnosis = Diagnosis(model, wire_names=False)
        if plan.shape is not None:
            members = [
                member for member in plan.shape.members.values() if member is not plan.payload
            ]
            diagnosis.structure(plan.shape, values, "", as_text=True, members=members)
            if plan.payload is not None and plan.payload.shape.type != "structure":
                diagnosis.structure(plan.shape, values, "", as_text=True, members=[plan.payload])
        raise diagnosis.error(str(error)) from None


def _form(operation: Operation, plan: InputPlan, request: HttpRequest) -> Any:
    if plan.shape is None:
        return plan.request_type()
    if request.body.count(b"&") > MAX_PARAMETERS:
        raise malformed(operation.model, "The request has too many parameters")
    try:
        values = read_form(plan.shape, request.query_pairs + form_pairs(request.body))
        if "QueueUrl" in plan.shape.required:
            # Who speaks this dialect to a queue's own address need not name the queue again.
            values.setdefault("QueueUrl", request.path.decode("latin-1"))
    except BadForm as error:
        raise malformed(operation.model, str(error)) from None
    return _convert(operation.model, plan, values)


def _payload(
    model: ServiceModel, plan: InputPlan, member: Member, values: dict[str, Any], body: bytes
) -> None:
    kind = member.shape.type
    if kind == "blob":
        values[member.name] = body
    elif kind == "string":
        try:
            values[member.name] = body.decode()
        except UnicodeDecodeError as error:
            raise malformed(model, f"The body is not UTF-8: {error}") from None
    elif not body:
        return
    elif plan.payload_decoder is None:
        values[member.name] = read_structure(member.shape, _xml(model, body))
    else:
        try:
            values[member.name] = plan.payload_decoder.decode(body)
        except _REFUSED as error:
            _explain_payload(model, member, body, error)


def _explain_payload(
    model: ServiceModel, member: Member, body: bytes, error: Exception
) -> NoReturn:
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as bad:
        raise malformed(model, f"Could not parse request body into json: {bad}") from None
    diagnosis = Diagnosis(model, wire_names=True)
    diagnosis.structure(
        member.shape, decoded, member.name[:1].lower() + member.name[1:], as_text=False
    )
    raise diagnosis.error(str(error)) from None


def _xml(model: ServiceModel, body: bytes) -> Any:
    try:
        return parse_xml(body)
    except BadXml as error:
        raise malformed(model, str(error)) from None


def _located(plan: InputPlan, route: Route, request: HttpRequest) -> dict[str, Any]:
    values: dict[str, Any] = {}
    query: dict[str, list[str]] | None = None
    for member in plan.located:
        where = member.location
        if where == "uri":
            values[member.name] = route.labels.get(member.wire)
        elif where == "header":
            text = request.header.get(member.wire.lower().encode())
            if text is not None:
                values[member.name] = _from_header(member, text.decode("latin-1"))
        elif where == "headers":
            values[member.name] = _prefixed(member, request)
        elif where == "querystring":
            if query is None:
                query = _by_key(request)
            _from_query(plan, member, query, values)
    return values


def _by_key(request: HttpRequest) -> dict[str, list[str]]:
    query: dict[str, list[str]] = {}
    if request.query:
        for key, value in request.query_pairs:
            query.setdefault(key, []).append(value)
    return query


def _from_query(
    plan: InputPlan, member: Member, query: dict[str, list[str]], values: dict[str, Any]
) -> None:
    shape = member.shape
    if shape.type == "map":
        taken = {
            other.wire
            for other in plan.located
            if other.location == "querystring" and other is not member
        }
        several = shape.value is not None and shape.value.shape.type == "list"
        values[member.name] = {
            key: found if several else found[0] for key, found in query.items() if key not in taken
        }
        return
    found = query.get(member.wire)
    if found is not None:
        values[member.name] = found if shape.type == "list" else found[0]


def _from_header(member: Member, text: str) -> Any:
    if member.shape.type == "list":
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def _prefixed(member: Member, request: HttpRequest) -> dict[str, str]:
    prefix = member.wire.lower().encode()
    return {
        name[len(prefix) :].decode("latin-1"): value.decode("latin-1")
        for name, value in request.header.items()
        if name.startswith(prefix)
    }
