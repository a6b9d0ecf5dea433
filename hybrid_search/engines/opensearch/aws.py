"""Credentials for requests to Amazon's OpenSearch Service and Serverless; needs the extra ``aws``."""

from __future__ import annotations

from typing import Any

from hybrid_search.engines.opensearch.connection import Connection
from hybrid_search.errors import MissingExtra, UsageError

__all__ = ["credentials"]


def credentials(connection: Connection) -> Any:
    """Find credentials as Amazon's own tools do: environment, profile, instance role; they renew themselves.

    :raises MissingExtra: without boto3.
    :raises UsageError: if there are none.
    """
    try:
        import boto3
        from botocore.exceptions import BotoCoreError
    except ImportError as error:
        raise MissingExtra("boto3", "aws") from error
    try:
        found = boto3.Session(profile_name=connection.aws_profile or None).get_credentials()
    except BotoCoreError as error:
        raise UsageError(f"AWS credentials: {error}") from error
    if found is None:
        raise UsageError(
            "aws_region is given, and there are no AWS credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "or name a profile in aws_profile"
        )
    return found
