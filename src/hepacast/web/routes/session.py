"""Entering and leaving, and the words of the page."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from hepacast._version import __version__
from hepacast.web.access import LONGEST, Account
from hepacast.web.guard import session_of
from hepacast.web.messages import languages, messages
from hepacast.web.site import AccountOf, SiteOf

router = APIRouter()


class TokenGiven(BaseModel):
    """What a browser enters with."""

    token: str


@router.post("/enter")
def enter(given: TokenGiven, site: SiteOf, response: Response) -> dict[str, str]:
    """Exchange a token for a session's cookie."""
    session, account = site.access.enter(given.token)
    site.audit.add(account.name, account.role, "enter")
    response.set_cookie(
        site.cookie, session, max_age=LONGEST, path="/", secure=site.secure, httponly=True, samesite="strict"
    )
    return {"name": account.name, "role": account.role}


@router.post("/leave")
def leave(request: Request, site: SiteOf, account: AccountOf, response: Response) -> dict[str, bool]:
    """End the session."""
    site.access.leave(session_of(site, request.headers.get("cookie", "")))
    site.audit.add(account.name, account.role, "leave")
    response.delete_cookie(site.cookie, path="/", secure=site.secure, httponly=True, samesite="strict")
    return {"left": True}


@router.get("/me")
def me(request: Request) -> dict[str, str]:
    """Who is signed in, and the version that answers; nothing to strangers."""
    account: Account | None = request.state.account
    if account is None:
        return {}
    return {"name": account.name, "role": account.role, "version": __version__}


@router.get("/messages")
def known_languages() -> dict[str, str]:
    """Code and own name of every language."""
    return languages()


@router.get("/messages/{language}")
def words(language: str) -> dict[str, Any]:
    """The words of a language."""
    return messages(language)
