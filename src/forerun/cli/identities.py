"""``account`` and ``key``: administration by whoever may read the data directory, with or without a running server.

The commands write to the server's own database, which may be open meanwhile; a running server looks for changes every
second and needs no restart. Keys of IAM users can as well be made through the IAM API.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import click

from forerun.cli.failures import Failure
from forerun.cli.options import json_option
from forerun.cli.output import clock_time, emit_json, remark, table
from forerun.settings import Settings

T = TypeVar("T")
_NOTICED = "A running server knows it within a second."

_DATABASE = "forerun.database"


def _keep(context: click.Context, _: click.Parameter, value: str | None) -> None:
    context.meta[_DATABASE] = value


def _data_dir_option(command: Callable[..., T]) -> Callable[..., T]:
    data = click.option(
        "--data",
        metavar="DIR",
        type=click.Path(file_okay=False),
        help="Data directory of the server. Default: $FORERUN_DATA, else ~/.local/share/forerun.",
    )
    database = click.option(
        "--database",
        metavar="URL",
        help="Of a cluster: its PostgreSQL, as for forerun up. Default: $FORERUN_CLUSTER_DATABASE.",
        expose_value=False,
        callback=_keep,
    )
    return data(database(command))


_account_option = click.option("--account", metavar="ID", help="Account. Default: the first one.")
_user_option = click.option(
    "--user", default="", metavar="NAME", help="IAM user. Default: the root."
)


@click.group()
def account() -> None:
    """Create and list accounts. What one owns, another can neither see nor call."""


@account.command("create")
@click.argument("name")
@click.option("--id", "account_id", metavar="DIGITS", help="12 digits. Default: chosen at random.")
@_data_dir_option
@json_option
def create_account(name: str, account_id: str | None, data: str | None, as_json: bool) -> None:
    """Create an account called NAME, with a first key for its root."""
    made, first = _administer(
        data, lambda identities: identities.create_account(name, account_id=account_id)
    )
    _print_secret(first, as_json=as_json, extra={"name": made.name})


@account.command("list")
@_data_dir_option
@json_option
def list_accounts(data: str | None, as_json: bool) -> None:
    """List the accounts."""

    async def read(identities: Any) -> Any:
        return identities.accounts()

    found = _administer(data, read)
    if as_json:
        emit_json([item._asdict() for item in found])
    else:
        rows = [[item.id, item.name, clock_time(item.created)] for item in found]
        table(["account", "name", "created"], rows)


@click.group()
def key() -> None:
    """Create, list, disable and delete access keys."""


@key.command("create")
@_account_option
@_user_option
@_data_dir_option
@json_option
def create_key(account: str | None, user: str, data: str | None, as_json: bool) -> None:
    """Create an access key. Its secret is shown this once."""

    async def create(identities: Any) -> Any:
        return await identities.create_key(_account_of(identities, account), user)

    _print_secret(_administer(data, create), as_json=as_json)


@key.command("list")
@_account_option
@_user_option
@_data_dir_option
@json_option
def list_keys(account: str | None, user: str, data: str | None, as_json: bool) -> None:
    """List the access keys of an account's root, or of a user."""

    async def read(identities: Any) -> Any:
        return identities.keys(_account_of(identities, account), user)

    found = _administer(data, read)
    if as_json:
        emit_json([_public(item) for item in found])
        return
    table(
        ["key", "account", "user", "state", "created"],
        [
            [
                item.id,
                item.account,
                item.user or "(root)",
                "active" if item.active else "disabled",
                clock_time(item.created),
            ]
            for item in found
        ],
    )


@key.command("disable")
@click.argument("key_id")
@_data_dir_option
@json_option
def disable_key(key_id: str, data: str | None, as_json: bool) -> None:
    """Refuse every request signed with access key KEY_ID, until it is enabled again."""
    _administer(data, lambda identities: _activate(identities, key_id, active=False))
    _print_done(key_id, "disabled", as_json=as_json)


@key.command("enable")
@click.argument("key_id")
@_data_dir_option
@json_option
def enable_key(key_id: str, data: str | None, as_json: bool) -> None:
    """Accept access key KEY_ID again."""
    _administer(data, lambda identities: _activate(identities, key_id, active=True))
    _print_done(key_id, "enabled", as_json=as_json)


@key.command("delete")
@click.argument("key_id")
@_data_dir_option
@json_option
def delete_key(key_id: str, data: str | None, as_json: bool) -> None:
    """Delete access key KEY_ID for good."""

    async def remove(identities: Any) -> None:
        found = _found(identities, key_id)
        await identities.delete_key(found.account, key_id, user=found.user)

    _administer(data, remove)
    _print_done(key_id, "deleted", as_json=as_json)


def _administer(data: str | None, act: Callable[[Any], Awaitable[T]]) -> T:
    """Run ``act`` on the identities of a data directory, or of the cluster whose control plane it is of."""
    database = click.get_current_context().meta.get(_DATABASE)
    settings = Settings.load(server_data_dir=data, cluster_database=database)
    server, shared = settings.server, settings.cluster.database
    if shared and not server.sealing_key_path.exists():
        raise Failure(
            f"{server.data_dir} has no key of a cluster.",
            "Give the data directory of one of its control planes: --data DIR",
        )
    if not shared and server.sealing_key_path.exists() and not server.database_path.exists():
        raise Failure(
            f"{server.data_dir} is that of a control plane of a cluster.",
            "Say where its database is: --database URL",
        )
    if not shared and not server.database_path.exists():
        raise Failure(
            f"No server has been started on {server.data_dir}.", "Start it with: forerun up"
        )

    async def run() -> T:
        # Database and cryptography: only these commands need them.
        from forerun.aio import SystemClock
        from forerun.control.directory import Directory
        from forerun.control.identity import Identities
        from forerun.control.sessions import SessionTokens
        from forerun.storage import Db, Sealer, load_or_create_key, open_sqlite
        from forerun.storage.identity import IdentityStore

        sealer = Sealer(load_or_create_key(server.sealing_key_path))
        clock = SystemClock()
        db: Db
        if shared:
            from forerun.storage.postgresql import open_postgresql

            db = await open_postgresql(shared, schema="forerun")
        else:
            db = await open_sqlite(server.database_path)
        try:
            directory = Directory(IdentityStore(db, sealer))
            identities = Identities(directory, SessionTokens(sealer, clock), clock)
            await identities.refresh()
            return await act(identities)
        finally:
            await db.close()

    return asyncio.run(run())


def _account_of(identities: Any, wanted: str | None) -> str:
    accounts = identities.accounts()
    if not accounts:
        raise Failure("There is no account yet.", "Make one with: forerun account create NAME")
    return wanted or str(accounts[0].id)


def _found(identities: Any, key_id: str) -> Any:
    found = identities.key(key_id)
    if found is None:
        raise Failure(f"There is no key {key_id}.", "See them with: forerun key list")
    return found


async def _activate(identities: Any, key_id: str, *, active: bool) -> None:
    found = _found(identities, key_id)
    await identities.activate_key(found.account, key_id, active=active, user=found.user)


def _public(item: Any) -> dict[str, Any]:
    return {
        "access_key_id": item.id,
        "account": item.account,
        "user": item.user,
        "active": item.active,
        "created": item.created,
    }


def _print_secret(item: Any, *, as_json: bool, extra: dict[str, str] | None = None) -> None:
    content = {**(extra or {}), **_public(item), "secret_access_key": item.secret}
    if as_json:
        emit_json(content)
        return
    shown = ("name", "account", "user", "access_key_id", "secret_access_key")
    table(["what", "value"], [[name, content[name]] for name in shown if content.get(name)])
    remark(f"The secret is not shown again. {_NOTICED}")


def _print_done(key_id: str, done: str, *, as_json: bool) -> None:
    if as_json:
        emit_json({"access_key_id": key_id, "state": done})
    else:
        remark(f"{key_id} is {done}. {_NOTICED}")
