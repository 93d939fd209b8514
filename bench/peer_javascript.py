"""Peers that Node's registry offers: workerd (isolates; whole processes) and serverless-offline (Python on the host)."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from client import Target
from peer import Peer, Running, first_good, free_port, install, one_call, process, whole_start
from server import HELLO

LOADER = """
const code = "export default { async fetch() { return Response.json({ ok: true }); } };";
export default {
  async fetch(request, env) {
    const worker = env.LOADER.get(new URL(request.url).pathname, () => ({
      compatibilityDate: "2025-06-01", mainModule: "main.js", modules: { "main.js": code },
    }));
    return worker.getEntrypoint().fetch(request);
  },
};
"""
PLAIN = "export default { async fetch() { return Response.json({ ok: true }); } };\n"
CONFIG = """using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [ (name = "main", worker = .main) ],
  sockets = [ (name = "http", address = "127.0.0.1:%d", http = (), service = "main") ]
);
const main :Workerd.Worker = (
  modules = [ (name = "main.js", esModule = embed "main.js") ],
  compatibilityDate = "2025-06-01", compatibilityFlags = [ "experimental" ], bindings = [ %s ]
);
"""
COLD_FUNCTIONS = 60


def _npm(*packages: str):
    def installed(folder: Path) -> None:
        npm = ["npm", "install", "--no-audit", "--no-fund", "--prefix", folder, *packages]
        install(folder, npm, env={"npm_config_update_notifier": "false"})

    return installed


def _workerd(folder: Path, source: str, bindings: str) -> tuple[list[object], Target]:
    port = free_port()
    (folder / "main.js").write_text(source)
    (folder / "config.capnp").write_text(CONFIG % (port, bindings))
    binary = folder / "node_modules" / ".bin" / "workerd"
    command = [binary, "serve", "--experimental", folder / "config.capnp"]
    return command, Target(f"http://127.0.0.1:{port}/warm", b"{}", b"true")


@contextmanager
def _isolates(folder: Path) -> Iterator[Running]:
    command, warm = _workerd(folder, LOADER, '(name = "LOADER", workerLoader = (id = "bench"))')
    with process(command, folder):
        first_good(warm)
        yield Running(warm, lambda number: one_call(Target(warm.url + str(number), b"{}", b"true")))


@contextmanager
def _whole(folder: Path) -> Iterator[Running]:
    command, warm = _workerd(folder, PLAIN, "")
    cold_folder = folder / "cold"
    cold_folder.mkdir(exist_ok=True)

    def cold(_: int) -> float:
        port = free_port()
        (cold_folder / "main.js").write_text(PLAIN)
        (cold_folder / "config.capnp").write_text(CONFIG % (port, ""))
        target = Target(f"http://127.0.0.1:{port}/", b"{}", b"true")
        return whole_start([*command[:-1], cold_folder / "config.capnp"], cold_folder, target)

    with process(command, folder):
        first_good(warm)
        yield Running(warm, cold)


@contextmanager
def _serverless_offline(folder: Path) -> Iterator[Running]:
    (folder / "app.py").write_text(HELLO)
    names = ["warm", *(f"cold{number}" for number in range(COLD_FUNCTIONS))]
    functions = "".join(f"  {name}:\n    handler: app.handler\n    timeout: 30\n" for name in names)
    (folder / "serverless.yml").write_text(
        "service: bench\nframeworkVersion: '3'\nplugins: [serverless-offline]\n"
        f"provider:\n  name: aws\n  runtime: python3.11\nfunctions:\n{functions}"
    )
    http, calls = free_port(), free_port()
    command = [
        folder / "node_modules" / ".bin" / "serverless",
        "offline",
        "start",
        "--host",
        "127.0.0.1",
    ]
    command += [
        "--httpPort",
        http,
        "--lambdaPort",
        calls,
        "--noPrependStageInUrl",
        "--reloadHandler",
        "false",
    ]

    def target(name: str) -> Target:
        url = f"http://127.0.0.1:{calls}/2015-03-31/functions/bench-dev-{name}/invocations"
        return Target(url, b"{}", b"true")

    with process(
        command[:-2], folder, {"SLS_TELEMETRY_DISABLED": "1", "SLS_NOTIFICATIONS_MODE": "off"}
    ):
        first_good(target("warm"))
        yield Running(target("warm"), lambda number: one_call(target(f"cold{number}")))


PEERS = (
    Peer("workerd isolate", "python", "isolate", _npm("workerd"), _isolates),
    Peer("workerd process", "nodejs", "isolate", _npm("workerd"), _whole),
    Peer(
        "serverless-offline python",
        "python",
        "none",
        _npm("serverless@3", "serverless-offline@13"),
        _serverless_offline,
    ),
)
