"""SQS: queues and their messages, as AWS's clients ask for them."""

from forerun.api.sqs.definitions import QueueRoutes
from forerun.api.sqs.messages import MessageRoutes
from forerun.api.sqs.rows import QueueRows

__all__ = ["MessageRoutes", "QueueRoutes", "QueueRows"]
