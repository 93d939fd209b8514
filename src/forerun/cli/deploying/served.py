"""Which resource types of templates are applied, and which properties of each. Data alone.

What stands here has an effect; everything else is refused by its name before anything is changed.
"""

from collections.abc import Mapping

SERVED: Mapping[str, frozenset[str]] = {
    "AWS::Lambda::Function": frozenset(
        [
            "Architectures",
            "Code",
            "DeadLetterConfig",
            "Description",
            "Environment",
            "EphemeralStorage",
            "FileSystemConfigs",
            "FunctionName",
            "Handler",
            "KmsKeyArn",
            "Layers",
            "LoggingConfig",
            "MemorySize",
            "PackageType",
            "ReservedConcurrentExecutions",
            "Role",
            "Runtime",
            "SnapStart",
            "Tags",
            "Timeout",
            "TracingConfig",
            "VpcConfig",
        ]
    ),
    "AWS::Lambda::LayerVersion": frozenset(
        [
            "CompatibleArchitectures",
            "CompatibleRuntimes",
            "Content",
            "Description",
            "LayerName",
            "LicenseInfo",
        ]
    ),
    "AWS::Lambda::Version": frozenset(
        ["FunctionName", "Description", "CodeSha256", "ProvisionedConcurrencyConfig"]
    ),
    "AWS::Lambda::Alias": frozenset(
        [
            "FunctionName",
            "FunctionVersion",
            "Name",
            "Description",
            "ProvisionedConcurrencyConfig",
            "RoutingConfig",
        ]
    ),
    "AWS::ApplicationAutoScaling::ScalableTarget": frozenset(
        [
            "MaxCapacity",
            "MinCapacity",
            "ResourceId",
            "RoleARN",
            "ScalableDimension",
            "ScheduledActions",
            "ServiceNamespace",
            "SuspendedState",
        ]
    ),
    "AWS::ApplicationAutoScaling::ScalingPolicy": frozenset(
        [
            "PolicyName",
            "PolicyType",
            "PredictiveScalingPolicyConfiguration",
            "ResourceId",
            "ScalableDimension",
            "ScalingTargetId",
            "ServiceNamespace",
            "StepScalingPolicyConfiguration",
            "TargetTrackingScalingPolicyConfiguration",
        ]
    ),
    "AWS::Lambda::Url": frozenset(
        ["TargetFunctionArn", "Qualifier", "AuthType", "Cors", "InvokeMode"]
    ),
    "AWS::Lambda::Permission": frozenset(
        [
            "Action",
            "EventSourceToken",
            "FunctionName",
            "FunctionUrlAuthType",
            "InvokedViaFunctionUrl",
            "Principal",
            "PrincipalOrgID",
            "SourceAccount",
            "SourceArn",
        ]
    ),
    "AWS::Lambda::EventInvokeConfig": frozenset(
        [
            "DestinationConfig",
            "FunctionName",
            "MaximumEventAgeInSeconds",
            "MaximumRetryAttempts",
            "Qualifier",
        ]
    ),
    "AWS::IAM::Role": frozenset(
        [
            "AssumeRolePolicyDocument",
            "Description",
            "ManagedPolicyArns",
            "MaxSessionDuration",
            "Path",
            "Policies",
            "RoleName",
            "Tags",
        ]
    ),
    "AWS::Lambda::EventSourceMapping": frozenset(
        [
            "BatchSize",
            "Enabled",
            "EventSourceArn",
            "FilterCriteria",
            "FunctionName",
            "FunctionResponseTypes",
            "MaximumBatchingWindowInSeconds",
            "MetricsConfig",
            "ScalingConfig",
            "Tags",
        ]
    ),
    "AWS::SQS::Queue": frozenset(
        [
            "ContentBasedDeduplication",
            "DeduplicationScope",
            "DelaySeconds",
            "FifoQueue",
            "FifoThroughputLimit",
            "MaximumMessageSize",
            "MessageRetentionPeriod",
            "QueueName",
            "ReceiveMessageWaitTimeSeconds",
            "RedriveAllowPolicy",
            "RedrivePolicy",
            "Tags",
            "VisibilityTimeout",
        ]
    ),
    "AWS::SQS::QueuePolicy": frozenset(["PolicyDocument", "Queues"]),
    "AWS::SNS::Topic": frozenset(
        [
            "ContentBasedDeduplication",
            "DisplayName",
            "FifoThroughputScope",
            "FifoTopic",
            "SignatureVersion",
            "Subscription",
            "Tags",
            "TopicName",
            "TracingConfig",
        ]
    ),
    "AWS::SNS::TopicPolicy": frozenset(["PolicyDocument", "Topics"]),
    "AWS::SNS::Subscription": frozenset(
        [
            "DeliveryPolicy",
            "Endpoint",
            "FilterPolicy",
            "FilterPolicyScope",
            "Protocol",
            "RawMessageDelivery",
            "RedrivePolicy",
            "Region",
            "TopicArn",
        ]
    ),
    "AWS::Events::EventBus": frozenset(["Description", "Name", "Policy", "Tags"]),
    "AWS::Events::Rule": frozenset(
        [
            "Description",
            "EventBusName",
            "EventPattern",
            "Name",
            "RoleArn",
            "ScheduleExpression",
            "State",
            "Tags",
            "Targets",
        ]
    ),
    "AWS::Scheduler::Schedule": frozenset(
        [
            "Description",
            "EndDate",
            "FlexibleTimeWindow",
            "GroupName",
            "Name",
            "ScheduleExpression",
            "ScheduleExpressionTimezone",
            "StartDate",
            "State",
            "Target",
        ]
    ),
    "AWS::Scheduler::ScheduleGroup": frozenset(["Name", "Tags"]),
    "AWS::S3::Bucket": frozenset(["BucketName", "NotificationConfiguration", "Tags"]),
    "AWS::S3::BucketPolicy": frozenset(["Bucket", "PolicyDocument"]),
}
"""Resource types and the properties of each that are applied."""

REQUIRED: Mapping[str, tuple[str, ...]] = {
    "AWS::Lambda::EventSourceMapping": ("EventSourceArn", "FunctionName"),
    "AWS::SQS::QueuePolicy": ("PolicyDocument", "Queues"),
    "AWS::SNS::Subscription": ("Endpoint", "Protocol", "TopicArn"),
    "AWS::SNS::TopicPolicy": ("PolicyDocument", "Topics"),
    "AWS::Events::EventBus": ("Name",),
    "AWS::Scheduler::Schedule": ("FlexibleTimeWindow", "ScheduleExpression", "Target"),
    "AWS::S3::BucketPolicy": ("Bucket", "PolicyDocument"),
}
"""Properties without which sources of events cannot be made."""

_CALLED = ["Arn", "DeadLetterConfig", "RetryPolicy", "RoleArn", "SqsParameters", "Input"]

INSIDE: Mapping[tuple[str, str], frozenset[str]] = {
    ("AWS::Events::Rule", "Targets"): frozenset([*_CALLED, "Id", "InputPath", "InputTransformer"]),
    ("AWS::Scheduler::Schedule", "Target"): frozenset([*_CALLED, "EventBridgeParameters"]),
    ("AWS::S3::Bucket", "NotificationConfiguration"): frozenset(
        [
            "EventBridgeConfiguration",
            "LambdaConfigurations",
            "QueueConfigurations",
            "TopicConfigurations",
        ]
    ),
}
"""Of properties that are served in part: the members that are applied, of it or of each of its items."""

ARNS: Mapping[tuple[str, str], frozenset[str]] = {
    ("AWS::Lambda::EventSourceMapping", "EventSourceArn"): frozenset(["sqs"]),
    ("AWS::Events::Rule", "Targets"): frozenset(["events", "lambda", "sns", "sqs"]),
    ("AWS::Scheduler::Schedule", "Target"): frozenset(
        ["events", "lambda", "scheduler", "sns", "sqs"]
    ),
}
"""Services that an ARN, or the ``Arn`` of an object or of each of a list, may be of."""

EVENTS = frozenset(
    ["CloudWatchEvent", "EventBridgeRule", "S3", "SNS", "SQS", "Schedule", "ScheduleV2"]
)
"""Types of ``Events`` of SAM functions."""

SERVERLESS = frozenset(["Function", "LayerVersion"])
"""Resource types of SAM, ``AWS::Serverless::`` left out."""
