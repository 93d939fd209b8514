"""How to answer clients of services that are not served: in the protocol they speak, told by the request alone.

No model is read for it, so that requests for a hundred services cost no memory. What is guessed here is only the
form of a refusal; a client that speaks yet another form shows the HTTP status instead.
"""

from forerun.api.protocol.messages import HttpRequest
from forerun.api.protocol.models import ServiceModel

_REST_XML = frozenset({"s3", "s3-control", "cloudfront", "route53"})


def stand_in(service: str, request: HttpRequest, *, action: bool) -> ServiceModel | None:
    """A model without operations in the protocol that the request speaks; ``None`` stands for REST with JSON."""
    if action:
        protocol = "query"
    elif b"x-amz-target" in request.header:
        protocol = "json"
    elif service in _REST_XML:
        protocol = "rest-xml"
    else:
        return None
    metadata = {
        "protocol": protocol,
        "endpointPrefix": service,
        "apiVersion": "",
        "jsonVersion": "1.1",
    }
    return ServiceModel(service, {"metadata": metadata, "operations": {}, "shapes": {}})
