"""Code is compiled once on a machine: the server sees to it after the first call, and nobody notices but by the time."""

import pytest
from tests.servers import Server, eventually

pytestmark = pytest.mark.root

SOURCE = """
import sys
compiled = []
sys.addaudithook(
    lambda event, values: event == "compile" and str(values[1]).endswith(".py") and compiled.append(values[1])
)
import large
def handler(event, context):
    return [compiled, large.VALUES[-1]]
"""
LARGE = "VALUES = [\n" + "".join(f"    {n},\n" for n in range(2000)) + "]\n"


def test_the_next_sandbox_of_a_function_compiles_nothing(server: Server) -> None:
    name = server.function({"lambda_function.py": SOURCE, "large.py": LARGE})
    assert server.call(name) == [["/var/task/large.py"], 1999]

    def after_a_change() -> bool:
        # Whatever the configuration, the code is the same; a sandbox of the old one is not used again.
        server.lambda_.update_function_configuration(FunctionName=name, Description="another")
        compiled, value = server.call(name)
        assert value == 1999
        return not compiled

    eventually(after_a_change, within=30)
