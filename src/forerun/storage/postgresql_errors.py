"""What an error of PostgreSQL means to a caller of ``Db``, and whether it is worth another try; pure."""

from forerun.errors import AlreadyExists, Conflict, ForerunError, InvalidInput, StorageFailed

# A unique key, or an exclusion: the row is there.
_EXISTS = ("23505", "23P01")
# Serialization failure, deadlock: the transaction was undone, and may well pass next time.
_UNDONE = ("40001", "40P01")
# Values too long for an index.
_TOO_LONG = "54000"
# The server, or what we reached of it, will not serve this connection any more: it shuts down, starts up, or became read-only.
_LEAVE = ("57P01", "57P02", "57P03", "57P05", "25006", "25P03", "08")


def is_undone(error: BaseException) -> bool:
    """True when the transaction was surely undone by others' doings, and is to be tried again."""
    return state(error) in _UNDONE


def is_over(error: BaseException) -> bool:
    """True when the connection must not be used again."""
    if isinstance(error, ForerunError):
        return False
    code = state(error)
    return code.startswith(_LEAVE) if code else not isinstance(error, ValueError)


def state(error: BaseException) -> str:
    """The five letters of SQL's state; empty when the server said nothing."""
    return str(getattr(error, "sqlstate", None) or "")


def translated(error: BaseException) -> Exception:
    """The platform's error for one of PostgreSQL's or its client's."""
    if isinstance(error, ForerunError):
        return error
    code, text = state(error), str(error.args[0] if error.args else error)
    if code in _EXISTS:
        return AlreadyExists(f"It exists already ({text}).")
    if code.startswith("23"):
        return Conflict(f"The change breaks a rule of the database ({text}).")
    if code.startswith("22") or code == _TOO_LONG or (not code and isinstance(error, ValueError)):
        return InvalidInput(f"A value cannot be stored: {text}")
    if isinstance(error, TimeoutError):
        return StorageFailed("The database did not answer in time.")
    return StorageFailed(f"The database failed: {text} ({code or type(error).__name__}).")


def again(error: Exception) -> Exception:
    """The platform's error, as an object of its own: each caller adds its traceback to what it is given."""
    failure = translated(error)
    return type(failure)(str(failure))
