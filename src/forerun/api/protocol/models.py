"""AWS service models as data: what operations a service has and what their inputs and outputs look like.

The models are the JSON files botocore ships. botocore itself is never imported (a quarter of a second and 30 MB);
only its directory is found. A model is read when it is first asked for; shapes become objects when first used.
"""

import gzip
import importlib.util
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from forerun.api.protocol.sqs_query import as_query, with_free_names

PROTOCOLS = ("rest-json", "json", "query", "rest-xml")

# Where the name in a signature's scope is not the name of the model's folder; several models may share one.
_SIGNING_NAMES: Mapping[str, tuple[str, ...]] = {
    "states": ("stepfunctions",),
    "cloudcontrolapi": ("cloudcontrol",),
    "apigateway": ("apigateway", "apigatewayv2"),
    "lambda": ("lambda", "lambda-core", "lambda-microvms", "lambda-web"),
    "monitoring": ("cloudwatch",),
}


class UnknownService(LookupError):
    """No model of that name is installed, or it speaks none of the served protocols."""


def services_signed_as(signing_name: str) -> tuple[str, ...]:
    """Names of the models whose requests carry ``signing_name`` in their credential scope."""
    return _SIGNING_NAMES.get(signing_name, (signing_name,))


class Member:
    """A place that holds a value: a structure's member, a list's element, a map's key or value."""

    def __init__(self, name: str, ref: Mapping[str, Any], shape: "Shape") -> None:
        self.name = name
        self.shape = shape
        self.location: str | None = ref.get("location")
        self.location_name: str | None = ref.get("locationName")
        self.wire: str = self.location_name or name
        self.flattened: bool = bool(ref.get("flattened") or shape.traits.get("flattened"))
        self.xml_attribute: bool = bool(ref.get("xmlAttribute"))
        self.xml_namespace: Mapping[str, str] | None = ref.get("xmlNamespace") or shape.traits.get(
            "xmlNamespace"
        )
        self.timestamp_format: str | None = ref.get("timestampFormat") or shape.traits.get(
            "timestampFormat"
        )
        self.event_payload: bool = bool(ref.get("eventpayload"))
        self.deprecated: bool = bool(ref.get("deprecated"))


class Shape:
    """The form of a value. ``traits`` is the model's own description of it (min, max, pattern, enum, error...)."""

    def __init__(self, name: str, traits: Mapping[str, Any]) -> None:
        self.name = name
        self.traits = traits
        self.type: str = traits["type"]
        self.required: frozenset[str] = frozenset(traits.get("required", ()))
        self.payload: str | None = traits.get("payload")
        self.document: bool = bool(traits.get("document"))
        self.members: dict[str, Member] = {}
        self.element: Member | None = None
        self.key: Member | None = None
        self.value: Member | None = None

    def body_members(self) -> list[Member]:
        """Members that travel in the body, not in path, query, headers or status."""
        return [member for member in self.members.values() if member.location is None]


class Operation:
    """One operation: its HTTP binding and the shapes of its input and output (``None`` where it has none)."""

    def __init__(self, model: "ServiceModel", traits: Mapping[str, Any]) -> None:
        self.model = model
        self.traits = traits
        self.name: str = traits["name"]
        self.method: str = traits["http"]["method"]
        self.uri: str = traits["http"]["requestUri"]
        self.status: int = traits["http"].get("responseCode", 200)
        self.deprecated: bool = bool(traits.get("deprecated"))
        self.result_wrapper: str | None = traits.get("output", {}).get("resultWrapper")

    @cached_property
    def input(self) -> Shape | None:
        """The request's structure."""
        ref = self.traits.get("input")
        return self.model.shape(ref["shape"]) if ref else None

    @cached_property
    def output(self) -> Shape | None:
        """The answer's structure."""
        ref = self.traits.get("output")
        return self.model.shape(ref["shape"]) if ref else None


class ServiceModel:
    """One service, spoken in one protocol."""

    def __init__(self, name: str, document: Mapping[str, Any]) -> None:
        metadata = document["metadata"]
        self.name = name
        self.metadata: Mapping[str, Any] = metadata
        self.protocol: str = metadata["protocol"]
        self.signing_name: str = metadata.get("signingName") or metadata["endpointPrefix"]
        self.api_version: str = metadata["apiVersion"]
        self.target_prefix: str | None = metadata.get("targetPrefix")
        self.xml_namespace: str = metadata.get("xmlNamespace") or ""
        self.document = document
        self.operations = {
            key: Operation(self, traits) for key, traits in document["operations"].items()
        }
        self._shapes: dict[str, Shape] = {}

    def shape(self, name: str) -> Shape:
        """The shape called ``name``; shapes may refer to themselves."""
        found = self._shapes.get(name)
        if found is None:
            found = self._shapes[name] = Shape(name, self.document["shapes"][name])
            self._connect(found)
        return found

    def _connect(self, shape: Shape) -> None:
        for name, ref in (
            shape.traits.get("members", {}).items() if shape.type == "structure" else ()
        ):
            shape.members[name] = self._member(name, ref)
        if shape.type == "list":
            shape.element = self._member("member", shape.traits["member"])
        elif shape.type == "map":
            shape.key = self._member("key", shape.traits["key"])
            shape.value = self._member("value", shape.traits["value"])

    def _member(self, name: str, ref: Mapping[str, Any]) -> Member:
        return Member(name, ref, self.shape(ref["shape"]))

    @cached_property
    def _errors(self) -> dict[str, str]:
        names: dict[str, str] = {}
        for name, traits in self.document["shapes"].items():
            if traits.get("exception") or "error" in traits:
                names[traits.get("error", {}).get("code", name)] = name
        for name, traits in self.document["shapes"].items():
            if traits.get("exception"):
                names.setdefault(name, name)
        return names

    def error_shape(self, code: str) -> Shape | None:
        """The shape of the error AWS names ``code`` (or whose shape has that name)."""
        name = self._errors.get(code)
        return self.shape(name) if name else None


class Models:
    """The models installed on this machine, each read once. Not shared between threads."""

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory or _botocore_data()
        self._loaded: dict[tuple[str, str | None], ServiceModel] = {}

    def load(self, service: str, protocol: str | None = None) -> ServiceModel:
        """The newest model of ``service``; ``protocol="query"`` asks for the query dialect of a JSON service.

        Raises ``UnknownService``.
        """
        found = self._loaded.get((service, protocol))
        if found is None:
            document = self._read(service)
            if service == "sqs":
                document = with_free_names(document)
            if protocol == "query" and document["metadata"]["protocol"] != "query":
                document = as_query(document)
            if document["metadata"]["protocol"] not in PROTOCOLS:
                document = _in_served_protocol(service, document)
            found = self._loaded[service, protocol] = ServiceModel(service, document)
        return found

    def _read(self, service: str) -> dict[str, Any]:
        folder = self._directory / service
        if "/" in service or service.startswith(".") or not folder.is_dir():
            raise UnknownService(service)
        for version in sorted(
            (entry for entry in folder.iterdir() if entry.is_dir()), reverse=True
        ):
            packed, plain = version / "service-2.json.gz", version / "service-2.json"
            if packed.exists():
                return _decode(gzip.decompress(packed.read_bytes()))
            if plain.exists():
                return _decode(plain.read_bytes())
        raise UnknownService(service)


def _decode(text: bytes) -> dict[str, Any]:
    return msgspec.json.decode(text, type=dict[str, Any])


def _in_served_protocol(service: str, document: dict[str, Any]) -> dict[str, Any]:
    offered = [name for name in document["metadata"].get("protocols", ()) if name in PROTOCOLS]
    if not offered:
        raise UnknownService(service)
    return {**document, "metadata": {**document["metadata"], "protocol": offered[0]}}


def _botocore_data() -> Path:
    spec = importlib.util.find_spec("botocore")
    if spec is None or spec.origin is None:
        raise UnknownService("botocore, which holds the service models, is not installed")
    return Path(spec.origin).parent / "data"
