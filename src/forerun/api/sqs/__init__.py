"""SQS: queues and their messages, as AWS's clients ask for them."""

from forerun.api.sqs.definitions import QueueRoutes
from forerun.api.sqs.messages import MessageRoutes

__all__ = ["MessageRoutes", "QueueRoutes"]
