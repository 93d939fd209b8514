"""Forerun runs AWS Lambda functions unmodified on your own machines."""
