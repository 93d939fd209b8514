"""Which commands there are; each module is imported only when its command is run."""

import importlib
from typing import Any

import click

from forerun.cli.failures import explain

_GROUPS: dict[str, dict[str, tuple[str, str]]] = {
    "The server": {
        "up": ("server", "Run the platform on this machine."),
        "env": ("server", "Print shell exports that point every AWS tool at the server."),
        "status": ("server", "Show whether the server runs and what it holds."),
        "doctor": ("doctor", "Say what this machine can isolate, and what to install."),
        "console": ("console", "Print a link that signs a browser in to the console."),
        "account": ("identities", "Create and list accounts."),
        "key": ("identities", "Create, list, disable and delete access keys."),
    },
    "Functions": {
        "deploy": ("deploy", "Deploy a folder, a zip or a SAM template."),
        "functions": ("functions", "List the functions."),
        "versions": ("functions", "List the versions of a function."),
        "invoke": ("invoke", "Call a function and print its result."),
        "logs": ("logs", "Print a function's log, or follow it."),
        "delete": ("functions", "Delete a function with its versions and aliases."),
        "packaging": ("packaging", "Say how a function's packages come to a host, and why."),
    },
    "What happened, and what will": {
        "invocations": ("invocations", "List a function's calls: start types and timings."),
        "traces": ("traces", "List which executions caused each other."),
        "trace": ("traces", "Show one trace as a waterfall, with its logs."),
        "profile": ("profiles", "Say what a function is like and whom it calls."),
        "map": ("profiles", "Show who calls whom."),
        "monitor": ("profiles", "Say or set which executions of a function are watched."),
        "findings": ("findings", "Say what is worth changing in a function."),
        "forecast": ("forecast", "Say which calls are expected, why, and how right that was."),
        "simulate": ("simulate", "Replay recorded calls through policies of keep-alive."),
        "sandboxes": ("sandboxes", "List the sandboxes of this server."),
        "zygotes": ("zygotes", "List what sandboxes are forked from, and why."),
    },
    "Events": {
        "sources": (
            "sources",
            "List where events come from, what waits there, and how fast it is taken.",
        ),
        "schedules": ("schedules", "List what is called by the clock, and when it is next."),
        "folders": ("folders", "Watch directories for files: list, put, delete."),
        "hooks": ("hooks", "Make and list URLs for signed webhooks."),
        "once": ("once", "Have functions run once for what comes several times."),
        "metaevents": ("metaevents", "Run functions because of what the platform sees of itself."),
        "dead-letters": ("dead_letters", "What nobody could process: list it, or send it again."),
    },
    "Many machines": {
        "migrate": ("migrate", "Move a single machine's state into a cluster's database."),
        "join": ("join", "Make this machine a host of a cluster."),
        "hosts": ("hosts", "List the hosts of a cluster."),
        "cordon": ("hosts", "Give a host no new calls."),
        "uncordon": ("hosts", "Give a host calls again."),
        "drain": ("hosts", "Let a host leave when its calls are over."),
        "expel": ("hosts", "Let a host in nowhere any more."),
        "token": ("hosts", "Make, list and revoke tokens that let machines join."),
        "limits": ("limits", "Say how many calls may run at once, and where."),
        "agent": ("agent", "Run functions here for the control planes of a cluster."),
    },
}
_COMMANDS = {name: told for group in _GROUPS.values() for name, told in group.items()}
# Names that Python has other uses for.
_ATTRIBUTES = {"dead-letters": "dead_letters", "map": "map_"}


class _Commands(click.Group):
    """A group that knows its commands by name and help alone."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"forerun.cli.{_COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, _ATTRIBUTES.get(cmd_name, cmd_name))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, _COMMANDS))
        for group, commands in _GROUPS.items():
            with formatter.section(group):
                # All groups are one table.
                told = [(name.ljust(width), text) for name, (_, text) in commands.items()]
                formatter.write_dl(told)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            failure = explain(error)
            if failure is None:
                raise
            raise failure from error


@click.command(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with: forerun up",
)
@click.version_option(package_name="forerun", prog_name="forerun")
def main() -> None:
    """Run AWS Lambda functions on your own machines, jailed, in milliseconds."""
