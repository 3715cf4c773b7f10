"""Who uses the application: one-time token on this machine, named users with roles on a network."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from hepacast.core.files import write_text
from hepacast.core.records import Record, plain, read_record
from hepacast.errors import HepacastError

Role = Literal["reader", "reviewer", "owner"]
ROLES: tuple[Role, ...] = get_args(Role)

#: Seconds after which a session ends that nobody uses, and after which it ends at all.
IDLE, LONGEST = 8 * 3600, 24 * 3600
#: Tokens that a browser may get wrong in a minute, all together: guessing is hopeless long before.
TRIES = 30


class AccessError(HepacastError):
    """A token or a session that is not known, or a role that may not do this."""


@dataclass(frozen=True)
class Account(Record):
    """A user: name, role, SHA-256 of the token (32 random bytes, so that no slow hash is needed)."""

    name: str
    role: Role
    token: str = ""

    def may(self, role: Role) -> bool:
        """Whether the account has a role or one above it."""
        return ROLES.index(self.role) >= ROLES.index(role)


def token_hash(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def read_users(path: Path) -> list[Account]:
    """The users of a file that `add_user` wrote.

    Raises
    ------
    HepacastError
        The file is not one, or names a user twice.
    """
    if not path.is_file():
        raise AccessError(
            "There is no file of users.", where=str(path), remedy="make one: hepacast serve --users FILE --add-user"
        )
    users = read_record(list[Account], path)
    names = [item.name for item in users]
    if len(set(names)) < len(names) or not all(len(item.token) == 64 for item in users):
        raise AccessError("The file of users is not as it was written.", expected="each name once", where=str(path))
    return users


def add_user(path: Path, name: str, role: str) -> str:
    """Add a user to a file, or give one a new token, and return the token: it is kept nowhere.

    Raises
    ------
    AccessError
        There is no such role, or the name is none.
    """
    if role not in ROLES or not 0 < len(name.strip()) <= 100:
        raise AccessError("A user is NAME:ROLE.", expected=f"a role of {', '.join(ROLES)}", found=f"{name}:{role}")
    users = [item for item in (read_users(path) if path.exists() else []) if item.name != name]
    token = secrets.token_urlsafe(32)
    users.append(Account(name, role, token_hash(token)))
    write_text(path, json.dumps(plain(users), indent=1, ensure_ascii=False) + "\n")
    path.chmod(0o600)
    return token


@dataclass
class _Session:
    account: Account
    began: float
    used: float


@dataclass
class Access:
    """Tokens that let in, and the sessions that came of them; sessions live as long as the server.

    Parameters
    ----------
    users
        Named users with tokens that last; without any, a one-time token lets in the owner of this machine.
    tell
        Called with a new one-time token when the last was used.
    """

    users: list[Account] = field(default_factory=list)
    tell: Callable[[str], None] = lambda token: None
    _sessions: dict[str, _Session] = field(default_factory=dict)
    _once: str = ""
    _wrong: list[float] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def new_token(self) -> str:
        """A token that lets in once, as owner."""
        token = secrets.token_urlsafe(32)
        self._once = token_hash(token)
        return token

    def enter(self, token: str) -> tuple[str, Account]:
        """Session and account of a token.

        Raises
        ------
        AccessError
            The token is not known, was used already, or too many were wrong.
        """
        digest, now = token_hash(token), time.monotonic()
        with self._lock:
            self._wrong = [when for when in self._wrong if now - when < 60]
            if len(self._wrong) >= TRIES:
                raise AccessError("Too many wrong tokens.", remedy="wait a minute")
            account = next((item for item in self.users if hmac.compare_digest(item.token, digest)), None)
            once = account is None and bool(self._once) and hmac.compare_digest(self._once, digest)
            if once:
                account, self._once = Account("local", "owner"), ""
            if account is None:
                self._wrong.append(now)
                raise AccessError("This token is not known, or was used already.")
            session = secrets.token_urlsafe(32)
            self._sessions[token_hash(session)] = _Session(account, now, now)
        if once:
            self.tell(self.new_token())
        return session, account

    def account(self, session: str | None) -> Account | None:
        """Whose session it is; None when it is none or has ended."""
        now = time.monotonic()
        with self._lock:
            found = self._sessions.get(token_hash(session or ""))
            if found is None:
                return None
            if now - found.used > IDLE or now - found.began > LONGEST:
                del self._sessions[token_hash(session or "")]
                return None
            found.used = now
            return found.account

    def leave(self, session: str | None) -> None:
        """End a session."""
        with self._lock:
            self._sessions.pop(token_hash(session or ""), None)
