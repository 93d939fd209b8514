"""The first key and the endpoint, left in a file for the command line of the same user."""

import contextlib
import json
import os

from forerun.settings import ServerSettings
from forerun.storage.identity import AccessKey


def write_credentials(settings: ServerSettings, endpoint: str, key: AccessKey) -> None:
    """Write the file (0600), in one step: who reads it finds the old one or the new one."""
    content = {
        "endpoint": endpoint,
        "access_key_id": key.id,
        "secret_access_key": key.secret,
        "region": settings.region,
        "account": key.account,
    }
    path = settings.credentials_path
    fresh = path.with_suffix(".new")
    with contextlib.suppress(FileNotFoundError):
        fresh.unlink()
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    os.write(descriptor, json.dumps(content, indent=1).encode())
    os.close(descriptor)
    fresh.replace(path)
