"""A jailed function without tracing code, a service in the world outside that copies headers, and the function it calls.

All of it runs in a network of its own: the service is at an address that only open egress reaches.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.apart import in_own_network

pytestmark = [pytest.mark.slow, pytest.mark.root]

# ``far`` is the world: S runs there, and knows of the platform only the address of B.
WORLD = """
import json, os, signal, socket, subprocess, sys, time
from pathlib import Path
from forerun.runtime import syscalls
from tests.servers import Server, eventually

A = '''
import json, os, urllib.request
def handler(event, context):
    if event["branch"]:
        with urllib.request.urlopen(f"http://203.0.113.1:80/{event['how']}") as answer:
            return json.load(answer)
'''
B = '''
def handler(event, context):
    return {"statusCode": 200, "body": "b"}
'''
S = '''
import http.server, json, sys, urllib.request
class Service(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        names = ("x-amzn-trace-id", "traceparent", "tracestate", "baggage")
        given = {name: self.headers[name] for name in names if name in self.headers}
        passed = given if self.path == "/copy" else {}
        urllib.request.urlopen(urllib.request.Request(sys.argv[1], headers=passed)).read()
        body = json.dumps(given).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
http.server.HTTPServer(("203.0.113.1", 80), Service).serve_forever()
'''

def ip(text):
    subprocess.run(["ip", "-batch", "-"], input=text, text=True, check=True)

def links():
    return [name for _, name in socket.if_nameindex()]

def world(url):
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, 9)
    syscalls.unshare(syscalls.CLONE_NEWNET)
    os.write(ready, b"x")
    eventually(lambda: "far" in links())
    ip("link set lo up\\naddr add 203.0.113.1/24 dev far\\nlink set far up\\n")
    os.execv(sys.executable, [sys.executable, "-c", S, os.read(url, 1000).decode()])

syscalls.unshare(syscalls.CLONE_NEWNET)
ip("link set lo up")
Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
told, ready = os.pipe()
url, address = os.pipe()
far = os.fork()
if far == 0:
    world(url)
os.read(told, 1)
ip(f"link add near type veth peer name far netns {far}\\naddr add 203.0.113.2/24 dev near\\nlink set near up\\nroute add default via 203.0.113.1\\n")
settings = {"FORERUN_MONITORING_FUNCTION_PER_S": "1000", "FORERUN_MONITORING_TOTAL_PER_S": "1000"}
server = Server.start(Path(sys.argv[1]) / "data", mode="jail", settings=settings, listen="203.0.113.2:0")
try:
    b = server.function(B)
    made = server.lambda_.create_function_url_config(FunctionName=b, AuthType="NONE")
    server.lambda_.add_permission(FunctionName=b, StatementId="open", Action="lambda:InvokeFunctionUrl", Principal="*", FunctionUrlAuthType="NONE")
    os.write(address, made["FunctionUrl"].encode())
    def up():
        try: return socket.create_connection(("203.0.113.1", 80), 1).close() is None
        except OSError: return False
    eventually(up, what="the service")
    found = {"b": b}
    for how in ("copy", "strip"):
        a = server.function(A, Tags={"forerun:egress": "open"})
        sent = [server.call(a, {"branch": number % 5 < 3, "how": how}) for number in range(100)]
        path = f"/forerun/profile?FunctionName={a}"
        def counted():
            answer = server.request("GET", path, headers=server.signed("GET", path, service="forerun"))
            return answer.status == 200 and answer.json()["Profile"]["sampled"] == 100
        eventually(counted, what="the profile")
        found[how] = server.platform(path)["Profile"]
        found[f"{how}-sent"] = sent
    found["isolation"] = server.invocations(a, 1)[0]["isolation"]
    print(json.dumps(found), flush=True)
finally:
    server.stop()
    os.kill(far, signal.SIGKILL)
    os.waitpid(far, 0)
"""


def test_a_jailed_function_is_linked_through_a_service_of_the_world(tmp_path: Path) -> None:
    printed = in_own_network(WORLD, tmp_path, within=55)
    found = json.loads(printed)
    service, b = "203.0.113.1:80", found["b"]
    assert found["isolation"] == "jail"
    assert (
        sum("Forerun=" in (each or {}).get("x-amzn-trace-id", "") for each in found["copy-sent"])
        == 60
    )
    assert likelihoods(found["copy"]) == {
        f"service:{service}": 0.6,
        f"function:{b} via {service}": 0.6,
    }
    assert likelihoods(found["strip"]) == {f"service:{service}": 0.6}


def likelihoods(profile: dict[str, Any]) -> dict[str, float]:
    return {
        f"{each['kind']}:{each['name']}" + (f" via {each['via']}" if each["via"] else ""): each[
            "likelihood"
        ]["value"]
        for each in profile["callees"]
    }
