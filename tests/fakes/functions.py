"""Functions as the store has them, for tests that only need some function."""

from forerun.model import FunctionVersion, LoggingConfig

ACCOUNT = "1" * 12
REGION = "us-home-1"


def make_function(name="f", version="$LATEST", **changes):
    """A function of ``ACCOUNT`` in ``REGION``, with whatever of it is to be different."""
    values = {
        "account": ACCOUNT,
        "region": REGION,
        "name": name,
        "version": version,
        "sandbox_key": f"{name}.{version}",
        "revision_id": "r",
        "runtime": "python3.11",
        "handler": "a.b",
        "role": "",
        "code_sha256": "",
        "code_digest": "d",
        "code_size": 1,
        "logging": LoggingConfig(group=f"/aws/lambda/{name}"),
    }
    return FunctionVersion(**(values | changes))
