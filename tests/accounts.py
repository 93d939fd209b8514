"""Further accounts of a server."""

import dataclasses
import json
import subprocess
from pathlib import Path

from tests.servers import FORERUN, Server, clean_environment, eventually


def as_new_account(server: Server, account: str, home: Path, **environment: str) -> Server:
    """The same server, as an account of that id sees it, which is made; ``environment`` is what the command is told besides."""
    made = subprocess.run(
        [FORERUN, "account", "create", "new", "--id", account, "--json", "--data", server.data],
        capture_output=True,
        check=True,
        timeout=20,
        env=clean_environment(home) | environment,
    )
    told = json.loads(made.stdout)
    new = dataclasses.replace(
        server,
        access_key=told["access_key_id"],
        secret_key=told["secret_access_key"],
        _clients={},
    )

    def known() -> bool:
        headers = new.signed("GET", "/forerun/sandboxes", service="forerun")
        return new.request("GET", "/forerun/sandboxes", headers=headers).status == 200

    eventually(known, what="the new account's key is known")
    return new
