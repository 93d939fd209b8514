"""The one table from the platform's errors to the names and statuses that AWS's clients know, per service."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from forerun.api.protocol import ApiError
from forerun.control.capacity.scalable_targets import TooManyTags
from forerun.control.capacity.scaling import InvalidToken, LimitReached, TaggedMissing
from forerun.control.identity import QuotaExceeded
from forerun.control.policies import MalformedPolicy
from forerun.control.rules import ConstraintViolated, ProvisionedConcurrencyMissing
from forerun.control.sessions import ExpiredCredentials
from forerun.errors import (
    AccessDenied,
    AlreadyExists,
    CodeStorageExceeded,
    Conflict,
    ForerunError,
    InUse,
    InvalidInput,
    NoSuchRuntime,
    NotFound,
    PolicyTooLong,
    PreconditionFailed,
    RecursionDetected,
    RequestTooLarge,
    SandboxError,
    StorageFailed,
    Throttled,
    Unsupported,
)
from forerun.patterns import InvalidPattern
from forerun.sources import topics
from forerun.sources.buckets import errors as bucket_errors
from forerun.sources.buses import LimitExceeded as BusLimitExceeded
from forerun.sources.buses import ManagedRule
from forerun.sources.queues import (
    BadAttributeName,
    BadAttributeValue,
    BadContents,
    BadReceipt,
    MissingParameter,
    NoSuchQueue,
    NotInFlight,
    PurgeRunning,
    QueueExists,
    TooManyInFlight,
)
from forerun.sources.schedules import QuotaExceeded as SchedulesExceeded


class AwsError(NamedTuple):
    """What a client is told: AWS's code, the HTTP status, the sentence."""

    code: str
    status: int
    message: str


_LAMBDA: dict[type[ForerunError], tuple[str, int]] = {
    ConstraintViolated: ("ValidationException", 400),
    InvalidInput: ("InvalidParameterValueException", 400),
    ProvisionedConcurrencyMissing: ("ProvisionedConcurrencyConfigNotFoundException", 404),
    NotFound: ("ResourceNotFoundException", 404),
    AlreadyExists: ("ResourceConflictException", 409),
    Conflict: ("ResourceConflictException", 409),
    InUse: ("ResourceConflictException", 409),
    PreconditionFailed: ("PreconditionFailedException", 412),
    PolicyTooLong: ("PolicyLengthExceededException", 400),
    RequestTooLarge: ("RequestTooLargeException", 413),
    CodeStorageExceeded: ("CodeStorageExceededException", 400),
    Unsupported: ("InvalidParameterValueException", 400),
    ExpiredCredentials: ("ExpiredTokenException", 403),
    AccessDenied: ("AccessDeniedException", 403),
    Throttled: ("TooManyRequestsException", 429),
    RecursionDetected: ("RecursiveInvocationException", 400),
    NoSuchRuntime: ("InvalidRuntimeException", 502),
    SandboxError: ("ServiceException", 500),
    StorageFailed: ("ServiceException", 500),
    ForerunError: ("ServiceException", 500),
}

_IAM: dict[type[ForerunError], tuple[str, int]] = {
    MalformedPolicy: ("MalformedPolicyDocument", 400),
    InvalidInput: ("ValidationError", 400),
    Unsupported: ("ValidationError", 400),
    NotFound: ("NoSuchEntity", 404),
    AlreadyExists: ("EntityAlreadyExists", 409),
    InUse: ("DeleteConflict", 409),
    Conflict: ("ConcurrentModification", 409),
    QuotaExceeded: ("LimitExceeded", 409),
    ExpiredCredentials: ("ExpiredToken", 403),
    AccessDenied: ("AccessDenied", 403),
    Throttled: ("Throttling", 400),
    ForerunError: ("ServiceFailure", 500),
}

_STS: dict[type[ForerunError], tuple[str, int]] = {
    MalformedPolicy: ("MalformedPolicyDocument", 400),
    InvalidInput: ("ValidationError", 400),
    Unsupported: ("ValidationError", 400),
    ExpiredCredentials: ("ExpiredToken", 403),
    AccessDenied: ("AccessDenied", 403),
    Throttled: ("Throttling", 400),
    ForerunError: ("InternalFailure", 500),
}

_LOGS: dict[type[ForerunError], tuple[str, int]] = {
    InvalidInput: ("InvalidParameterException", 400),
    Unsupported: ("InvalidParameterException", 400),
    NotFound: ("ResourceNotFoundException", 400),
    AlreadyExists: ("ResourceAlreadyExistsException", 400),
    Conflict: ("OperationAbortedException", 400),
    ExpiredCredentials: ("ExpiredTokenException", 400),
    AccessDenied: ("AccessDeniedException", 400),
    Throttled: ("ThrottlingException", 400),
    ForerunError: ("ServiceUnavailableException", 500),
}

_SQS: dict[type[ForerunError], tuple[str, int]] = {
    NoSuchQueue: ("QueueDoesNotExist", 400),
    QueueExists: ("QueueNameExists", 400),
    BadAttributeName: ("InvalidAttributeName", 400),
    BadAttributeValue: ("InvalidAttributeValue", 400),
    BadContents: ("InvalidMessageContents", 400),
    BadReceipt: ("ReceiptHandleIsInvalid", 400),
    MissingParameter: ("MissingParameter", 400),
    NotInFlight: ("MessageNotInflight", 400),
    PurgeRunning: ("PurgeQueueInProgress", 403),
    TooManyInFlight: ("OverLimit", 403),
    InvalidInput: ("InvalidParameterValue", 400),
    Unsupported: ("UnsupportedOperation", 400),
    ExpiredCredentials: ("ExpiredToken", 403),
    AccessDenied: ("AccessDenied", 403),
    Throttled: ("RequestThrottled", 403),
    ForerunError: ("InternalError", 500),
}

_XRAY: dict[type[ForerunError], tuple[str, int]] = {
    InvalidInput: ("InvalidRequestException", 400),
    Unsupported: ("InvalidRequestException", 400),
    NotFound: ("ResourceNotFoundException", 404),
    ExpiredCredentials: ("ExpiredTokenException", 403),
    AccessDenied: ("AccessDeniedException", 403),
    Throttled: ("ThrottledException", 429),
    ForerunError: ("ServiceUnavailableException", 500),
}

_AUTOSCALING: dict[type[ForerunError], tuple[str, int]] = {
    InvalidToken: ("InvalidNextTokenException", 400),
    LimitReached: ("LimitExceededException", 400),
    TooManyTags: ("TooManyTagsException", 400),
    TaggedMissing: ("ResourceNotFoundException", 400),
    InvalidInput: ("ValidationException", 400),
    Unsupported: ("ValidationException", 400),
    NotFound: ("ObjectNotFoundException", 400),
    Conflict: ("ConcurrentUpdateException", 400),
    ExpiredCredentials: ("ExpiredTokenException", 400),
    AccessDenied: ("AccessDeniedException", 400),
    Throttled: ("ThrottlingException", 400),
    ForerunError: ("InternalServiceException", 500),
}

_EVENTS: dict[type[ForerunError], tuple[str, int]] = {
    InvalidPattern: ("InvalidEventPatternException", 400),
    InvalidInput: ("ValidationException", 400),
    Unsupported: ("ValidationException", 400),
    NotFound: ("ResourceNotFoundException", 400),
    AlreadyExists: ("ResourceAlreadyExistsException", 400),
    BusLimitExceeded: ("LimitExceededException", 400),
    ManagedRule: ("ManagedRuleException", 400),
    Conflict: ("ConcurrentModificationException", 400),
    PolicyTooLong: ("PolicyLengthExceededException", 400),
    ExpiredCredentials: ("ExpiredTokenException", 400),
    AccessDenied: ("AccessDeniedException", 400),
    Throttled: ("ThrottlingException", 400),
    ForerunError: ("InternalException", 500),
}

_SCHEDULER: dict[type[ForerunError], tuple[str, int]] = {
    InvalidInput: ("ValidationException", 400),
    Unsupported: ("ValidationException", 400),
    NotFound: ("ResourceNotFoundException", 404),
    AlreadyExists: ("ConflictException", 409),
    Conflict: ("ConflictException", 409),
    SchedulesExceeded: ("ServiceQuotaExceededException", 402),
    ExpiredCredentials: ("ExpiredTokenException", 403),
    AccessDenied: ("AccessDeniedException", 403),
    Throttled: ("ThrottlingException", 429),
    ForerunError: ("InternalServerException", 500),
}

_SNS: dict[type[ForerunError], tuple[str, int]] = {
    topics.InvalidValue: ("ParameterValueInvalid", 400),
    topics.TooManyTopics: ("TopicLimitExceeded", 403),
    topics.TooManySubscriptions: ("SubscriptionLimitExceeded", 403),
    topics.TooManyFilters: ("FilterPolicyLimitExceeded", 403),
    topics.TooManyTags: ("TagLimitExceeded", 400),
    topics.TaggedMissing: ("ResourceNotFound", 404),
    InvalidInput: ("InvalidParameter", 400),
    Unsupported: ("InvalidParameter", 400),
    NotFound: ("NotFound", 404),
    Conflict: ("ConcurrentAccess", 400),
    ExpiredCredentials: ("ExpiredToken", 403),
    AccessDenied: ("AuthorizationError", 403),
    Throttled: ("Throttled", 429),
    ForerunError: ("InternalError", 500),
}

_S3: dict[type[ForerunError], tuple[str, int]] = {
    bucket_errors.NoSuchBucket: ("NoSuchBucket", 404),
    bucket_errors.NoSuchKey: ("NoSuchKey", 404),
    bucket_errors.NoSuchUpload: ("NoSuchUpload", 404),
    bucket_errors.BucketTaken: ("BucketAlreadyExists", 409),
    bucket_errors.BucketOwned: ("BucketAlreadyOwnedByYou", 409),
    bucket_errors.BucketNotEmpty: ("BucketNotEmpty", 409),
    bucket_errors.TooManyBuckets: ("TooManyBuckets", 400),
    bucket_errors.BadName: ("InvalidBucketName", 400),
    bucket_errors.KeyTooLong: ("KeyTooLongError", 400),
    bucket_errors.MetadataTooLarge: ("MetadataTooLarge", 400),
    bucket_errors.BadTag: ("InvalidTag", 400),
    bucket_errors.BadDigest: ("BadDigest", 400),
    bucket_errors.WrongHash: ("XAmzContentSHA256Mismatch", 400),
    bucket_errors.ObjectTooLarge: ("EntityTooLarge", 400),
    bucket_errors.BodyIncomplete: ("IncompleteBody", 400),
    bucket_errors.BucketsFull: ("QuotaExceeded", 403),
    bucket_errors.BadPart: ("InvalidPart", 400),
    bucket_errors.BadPartOrder: ("InvalidPartOrder", 400),
    bucket_errors.PartTooSmall: ("EntityTooSmall", 400),
    bucket_errors.Contended: ("ConditionalRequestConflict", 409),
    MalformedPolicy: ("MalformedPolicy", 400),
    InvalidInput: ("InvalidArgument", 400),
    Unsupported: ("NotImplemented", 501),
    NotFound: ("NoSuchKey", 404),
    PreconditionFailed: ("PreconditionFailed", 412),
    Conflict: ("OperationAborted", 409),
    RequestTooLarge: ("EntityTooLarge", 400),
    ExpiredCredentials: ("ExpiredToken", 400),
    AccessDenied: ("AccessDenied", 403),
    Throttled: ("SlowDown", 503),
    ForerunError: ("InternalError", 500),
}

TABLE: dict[str, Mapping[type[ForerunError], tuple[str, int]]] = {
    "application-autoscaling": _AUTOSCALING,
    "events": _EVENTS,
    "lambda": _LAMBDA,
    "iam": _IAM,
    "sts": _STS,
    "logs": _LOGS,
    "sqs": _SQS,
    "s3": _S3,
    "scheduler": _SCHEDULER,
    "sns": _SNS,
    "xray": _XRAY,
    # The platform's own pages under /forerun/ speak as the Lambda API does.
    "forerun": _LAMBDA,
}
"""Service name to error class to (code, status); a class without a row is answered as its nearest ancestor."""

_INTERNAL = ("InternalFailure", 500)


def describe(service: str, error: ForerunError) -> AwsError:
    """What the clients of ``service`` are told of ``error``."""
    rows = TABLE.get(service, {})
    for kind in type(error).__mro__:
        if kind in rows:
            return AwsError(*rows[kind], error.message)
    return AwsError(*_INTERNAL, error.message)


def api_error(service: str, error: ForerunError) -> ApiError:
    """The error as the protocol engine prints it, with what AWS adds for throttled requests."""
    code, status, message = describe(service, error)
    members = {}
    if isinstance(error, Throttled):
        seconds = str(max(1, math.ceil(error.retry_after_s)))
        members = {"Reason": error.reason, "retryAfterSeconds": seconds}
    return ApiError(code, message, status, members)
