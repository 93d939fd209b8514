"""The AWS protocols on the server's side, driven by the service models.

``Router.route`` finds the operation, ``Parser.parse`` reads its typed request, ``Serializer.reply`` writes the answer,
``error_reply`` an error. Pure and synchronous; an instance of each belongs to one event loop.
"""

from forerun.api.protocol.faults import error_reply
from forerun.api.protocol.messages import ApiError, HttpReply, HttpRequest
from forerun.api.protocol.models import Models, Operation, ServiceModel, UnknownService
from forerun.api.protocol.parser import Parser
from forerun.api.protocol.router import NoRoute, Route, Router
from forerun.api.protocol.serializer import Serializer

__all__ = [
    "ApiError",
    "HttpReply",
    "HttpRequest",
    "Models",
    "NoRoute",
    "Operation",
    "Parser",
    "Route",
    "Router",
    "Serializer",
    "ServiceModel",
    "UnknownService",
    "error_reply",
]
