"""The managed policies of AWS that deployment tools attach by name: a small read-only set, after AWS's documents and reduced
to the services that tools and functions use here.
"""

import msgspec

_PREFIX = "arn:aws:iam::aws:policy/"
_LOGS = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"]
_NETWORK = [
    "ec2:CreateNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:DeleteNetworkInterface",
    "ec2:AssignPrivateIpAddresses",
    "ec2:UnassignPrivateIpAddresses",
]


def _allow(*actions: str) -> str:
    return _document({"Effect": "Allow", "Action": list(actions), "Resource": "*"})


def _document(*statements: dict[str, object]) -> str:
    return msgspec.json.encode({"Version": "2012-10-17", "Statement": statements}).decode()


_DOCUMENTS = {
    "AdministratorAccess": _allow("*"),
    "PowerUserAccess": _document(
        {
            "Effect": "Allow",
            "NotAction": ["iam:*", "organizations:*", "account:*"],
            "Resource": "*",
        },
        {
            "Effect": "Allow",
            "Action": ["iam:ListRoles", "account:GetAccountInformation"],
            "Resource": "*",
        },
    ),
    "IAMFullAccess": _allow("iam:*"),
    "CloudWatchLogsFullAccess": _allow("logs:*", "cloudwatch:GenerateQuery"),
    "AmazonS3FullAccess": _allow("s3:*", "s3-object-lambda:*"),
    "AmazonS3ReadOnlyAccess": _allow(
        "s3:Get*", "s3:List*", "s3:Describe*", "s3-object-lambda:Get*", "s3-object-lambda:List*"
    ),
    "AmazonSQSFullAccess": _allow("sqs:*"),
    "AmazonSNSFullAccess": _allow("sns:*"),
    "AmazonDynamoDBFullAccess": _allow("dynamodb:*"),
    "AWSLambda_FullAccess": _allow(
        "lambda:*", "logs:*", "iam:GetRole", "iam:ListRoles", "iam:PassRole"
    ),
    "AWSLambda_ReadOnlyAccess": _allow(
        "lambda:Get*", "lambda:List*", "logs:DescribeLogGroups", "logs:FilterLogEvents"
    ),
    "AWSXRayDaemonWriteAccess": _allow(
        "xray:PutTraceSegments",
        "xray:PutTelemetryRecords",
        "xray:GetSamplingRules",
        "xray:GetSamplingTargets",
        "xray:GetSamplingStatisticSummaries",
    ),
    "AWSXrayWriteOnlyAccess": _allow(
        "xray:PutTraceSegments",
        "xray:PutTelemetryRecords",
        "xray:GetSamplingRules",
        "xray:GetSamplingTargets",
        "xray:GetSamplingStatisticSummaries",
    ),
    "service-role/AWSLambdaBasicExecutionRole": _allow(*_LOGS),
    "service-role/AWSLambdaVPCAccessExecutionRole": _allow(*_LOGS, *_NETWORK),
    "service-role/AWSLambdaENIManagementAccess": _allow(*_NETWORK),
    "service-role/AWSLambdaSQSQueueExecutionRole": _allow(
        "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", *_LOGS
    ),
    "service-role/AWSLambdaKinesisExecutionRole": _allow(
        "kinesis:DescribeStream",
        "kinesis:DescribeStreamSummary",
        "kinesis:GetRecords",
        "kinesis:GetShardIterator",
        "kinesis:ListShards",
        "kinesis:ListStreams",
        "kinesis:SubscribeToShard",
        *_LOGS,
    ),
    "service-role/AWSLambdaDynamoDBExecutionRole": _allow(
        "dynamodb:DescribeStream",
        "dynamodb:GetRecords",
        "dynamodb:GetShardIterator",
        "dynamodb:ListStreams",
        *_LOGS,
    ),
    "service-role/AWSLambdaRole": _allow("lambda:InvokeFunction"),
    "service-role/AWSLambdaBasicDurableExecutionRolePolicy": _allow(
        *_LOGS, "lambda:CheckpointDurableExecution", "lambda:GetDurableExecutionState"
    ),
}


def managed_document(arn: str) -> str | None:
    """The document of one of AWS's managed policies; ``None`` for one that is not in the set."""
    return _DOCUMENTS.get(arn.removeprefix(_PREFIX)) if arn.startswith(_PREFIX) else None


def managed_arns() -> list[str]:
    """The ARNs of the set, sorted."""
    return sorted(_PREFIX + name for name in _DOCUMENTS)
