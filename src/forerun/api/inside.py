"""Requests that come from inside a sandbox: by which socket they came says whose they are, without a signature.

That is enough to hand in spans. Whatever else is asked for must be signed as from anywhere.
"""

from forerun.aio import App, Receive, Scope, Send

_ACCOUNT = "forerun.account"


def from_inside(app: App, account: str) -> App:
    """``app`` for the requests of one sandbox, which belongs to ``account``; empty where that is not known."""
    if not account:
        return app

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        scope[_ACCOUNT] = account
        await app(scope, receive, send)

    return serve


def account_inside(scope: Scope) -> str | None:
    """Whose sandbox a request came from; ``None`` for one from outside."""
    account = scope.get(_ACCOUNT)
    return account if isinstance(account, str) else None
