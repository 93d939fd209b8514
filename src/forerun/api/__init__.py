"""HTTP: the Lambda-compatible API and the AWS-shaped services beside it."""
