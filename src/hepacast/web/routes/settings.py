"""What the server was started with, and the audit trail."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from hepacast.web.site import OWNER, AccountOf, SiteOf

router = APIRouter(prefix="/settings", dependencies=OWNER)
#: Lines of the audit trail that the page shows, the newest first.
_SHOWN = 200


@router.get("")
def settings(site: SiteOf) -> dict[str, Any]:
    """Folders that may be read, users with their roles, and how the server is reached."""
    users = [{"name": item.name, "role": item.role} for item in site.access.users]
    return {"folders": [str(root) for root in site.places.roots], "users": users, "secure": site.secure}


@router.get("/audit")
def audit(site: SiteOf, account: AccountOf) -> dict[str, Any]:
    """The newest lines of the audit trail, after all of it was checked against its seals."""
    site.audit.add(account.name, account.role, "see-trail")
    entries = site.audit.read()
    names = {site.places.code(folder): folder.name for folder in site.places.studies()}
    shown = [asdict(item) | {"study": names.get(item.study, item.study)} for item in reversed(entries[-_SHOWN:])]
    return {"entries": shown, "total": len(entries), "file": str(site.audit.path)}
