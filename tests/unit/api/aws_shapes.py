"""Sample values for the shapes of botocore's models, and requests as botocore would send them."""

import io
import random
import re
from datetime import UTC, datetime
from urllib.parse import urlsplit

import botocore.awsrequest
import botocore.parsers
import botocore.serialize
import botocore.session

from forerun.api.protocol import HttpRequest

ENDPOINT = "http://127.0.0.1:3000"
_session = botocore.session.get_session()
_CHARACTERS = [*map(chr, range(33, 127)), "é", "ß", "ʒ", " "]


def service_model(service):
    return _session.get_service_model(service)


class Sampler:
    """Makes values that fit a shape, as a client's caller would give them."""

    def __init__(self, seed):
        self._random = random.Random(seed)

    def value(self, shape, *, in_head=False, depth=0):
        kind = shape.type_name
        if shape.serialization.get("location") == "statusCode":
            return self._random.choice([200, 202])
        if kind in ("structure", "list", "map"):
            return getattr(self, f"_{kind}")(shape, in_head, depth)
        if kind in ("integer", "long"):
            return self._random.randint(
                shape.metadata.get("min", -(2**31)), shape.metadata.get("max", 2**31 - 1)
            )
        if kind in ("float", "double"):
            low, high = shape.metadata.get("min", -1000), shape.metadata.get("max", 1000)
            return self._random.randint(int(low) * 4, int(high) * 4) / 4
        if kind == "boolean":
            return self._random.random() < 0.5
        if kind == "timestamp":
            return datetime.fromtimestamp(self._random.randrange(4_000_000_000), UTC)
        if kind == "blob":
            return self._random.randbytes(shape.metadata.get("min", 0) + self._random.randrange(20))
        return self._string(shape, in_head)

    def _structure(self, shape, in_head, depth):
        if getattr(shape, "is_document_type", False):
            return {"a": [1, "b"]}
        made = {}
        for name, member in shape.members.items():
            if name in shape.required_members or (depth < 3 and self._random.random() < 0.5):
                located = in_head or member.serialization.get("location") is not None
                made[name] = self.value(member, in_head=located, depth=depth + 1)
        if getattr(shape, "is_tagged_union", False):
            made = dict(list(made.items())[:1])
        return made

    def _list(self, shape, in_head, depth):
        low = max(1, shape.metadata.get("min", 0))
        size = self._random.randint(low, min(shape.metadata.get("max", low + 2), low + 2))
        return [self.value(shape.member, in_head=in_head, depth=depth + 1) for _ in range(size)]

    def _map(self, shape, in_head, depth):
        return {
            self._key(shape.key, in_head, depth): self.value(
                shape.value, in_head=in_head, depth=depth + 1
            )
            for _ in range(2)
        }

    def _key(self, shape, in_head, depth):
        text = self.value(shape, in_head=True, depth=depth + 1)
        return text.lower() if in_head else text  # keys in headers lose their case on the way

    def _string(self, shape, in_head):
        if shape.enum:
            return self._random.choice(shape.enum)
        low, high = shape.metadata.get("min", 0) or 1, shape.metadata.get("max", 10**9)
        pattern = shape.metadata.get("pattern")
        try:
            compiled = re.compile(rf"\A(?a:{pattern})\Z") if pattern else None
        except re.error:
            compiled = None
        if compiled is None or pattern == ".*":
            size = min(high, low + self._random.randrange(12))
            text = "".join(
                self._random.choice(_CHARACTERS[: 94 if in_head or pattern else None])
                for _ in range(size)
            )
            return "x" * size if pattern and pattern != ".*" else text.strip() or "x" * size
        for _ in range(200):
            text = self._matching(re._parser.parse(pattern))[:high]
            if low <= len(text) and compiled.match(text):
                return text
            text += text[-1:] * (low - len(text))
            if low <= len(text) <= high and text and compiled.match(text):
                return text
        raise AssertionError(f"no sample for {shape.name}: {pattern} of {low} to {high}")

    def _matching(self, parsed):
        return "".join(self._node(str(code), argument) for code, argument in parsed)

    def _node(self, code, argument):
        pick = self._random
        if code == "LITERAL":
            return chr(argument)
        if code in ("ANY", "NOT_LITERAL"):
            return pick.choice("abc123")
        if code == "IN":
            return self._class(argument)
        if code == "BRANCH":
            return self._matching(pick.choice(argument[1]))
        if code == "SUBPATTERN":
            return self._matching(argument[3])
        if code in ("MAX_REPEAT", "MIN_REPEAT"):
            low, high, inner = argument
            count = pick.randint(low, min(int(high), low + 6))
            return "".join(self._matching(inner) for _ in range(count))
        return ""

    def _class(self, items):
        allowed = set()
        for code, argument in items:
            if str(code) == "LITERAL":
                allowed.add(chr(argument))
            elif str(code) == "RANGE":
                allowed.update(map(chr, range(max(33, argument[0]), min(argument[1], 126) + 1)))
            elif str(code) == "CATEGORY":
                digits = "0123456789"
                allowed.update(digits if "DIGIT" in str(argument) else digits + "abcXYZ")
        if str(items[0][0]) == "NEGATE":
            allowed = set("abcXYZ0123456789") - allowed or {"~"}
        return self._random.choice(sorted(allowed))


def wire_request(model, operation_name, parameters, *, protocol=None, headers=()):
    """The request botocore would put on the wire, in the given protocol (default: the model's)."""
    operation = model.operation_model(operation_name)
    serializer = botocore.serialize.create_serializer(
        protocol or model.protocol, include_validation=False
    )
    request = serializer.serialize_to_request(parameters, operation)
    botocore.awsrequest.prepare_request_dict(request, ENDPOINT, context={})
    prepared = botocore.awsrequest.create_request_object(request).prepare()
    url = urlsplit(prepared.url)
    body = prepared.body or b""
    sent = [
        (name.encode(), value if isinstance(value, bytes) else value.encode())
        for name, value in prepared.headers.items()
    ]
    return HttpRequest(
        prepared.method,
        url.path.encode(),
        url.query.encode(),
        [*sent, *headers],
        body.encode() if isinstance(body, str) else body,
    )


def read_reply(model, operation_name, reply, *, protocol=None):
    """What botocore makes of a reply."""
    parser = botocore.parsers.create_parser(protocol or model.protocol)
    operation = model.operation_model(operation_name)
    headers = {name.decode(): value.decode() for name, value in reply.headers}
    body = io.BytesIO(reply.body) if operation.has_streaming_output else reply.body
    response = {
        "status_code": reply.status,
        "headers": botocore.awsrequest.HeadersDict(headers),
        "body": body,
        "context": {},
    }
    return parser.parse(response, operation.output_shape)


def scope_header(signing_name):
    value = f"AWS4-HMAC-SHA256 Credential=AKID/20261121/us-home-1/{signing_name}/aws4_request, SignedHeaders=host, Signature=0"
    return (b"authorization", value.encode())
