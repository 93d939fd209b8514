"""SNS: topics, subscriptions and what is published, as AWS's clients ask for them."""

from forerun.api.sns.certificate import CertificateDoor
from forerun.api.sns.publish import PublishRoutes
from forerun.api.sns.subscriptions import SubscriptionRoutes
from forerun.api.sns.topics import TopicRoutes

__all__ = ["CertificateDoor", "PublishRoutes", "SubscriptionRoutes", "TopicRoutes"]
