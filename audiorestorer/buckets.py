"""Whether the bucket that a run keeps its files in can be used. No torch import."""

from __future__ import annotations

from typing import Any

from audiorestorer.errors import AudioRestorerError

KEYS = "SNAKEMAKE_STORAGE_S3_ACCESS_KEY and SNAKEMAKE_STORAGE_S3_SECRET_KEY"
REFUSED = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "Forbidden", "403"}


def check(client: Any, prefix: str) -> None:
    """Ask for one name in a bucket. Else Snakemake would end with a traceback at wrong keys, and make a bucket that is not there.

    Args:
        client: boto3's client for S3.
        prefix: `s3://BUCKET` or `s3://BUCKET/FOLDER`.

    Raises:
        AudioRestorerError: no keys, keys that the server refuses, no such bucket, or no answer.
    """
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    bucket = prefix.removeprefix("s3://").split("/")[0]
    shown = f"default-storage-prefix: s3://{bucket}"
    try:
        client.list_objects_v2(Bucket=bucket, MaxKeys=1)
    except NoCredentialsError:
        raise AudioRestorerError(f"{shown}: no keys for the bucket: set {KEYS}") from None
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code == "NoSuchBucket":
            raise AudioRestorerError(f"{shown}: no such bucket: make it first, or correct the name") from None
        if code in REFUSED:
            raise AudioRestorerError(f"{shown}: the server refuses the keys ({code}): check {KEYS}") from None
        raise AudioRestorerError(f"{shown}: {error}") from None
    except BotoCoreError as error:
        raise AudioRestorerError(f"{shown}: {error}: check storage-s3-endpoint-url") from None
