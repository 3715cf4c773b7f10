"""What every route needs: where studies lie, who asks, the audit trail."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request

from hepacast.web.access import Access, AccessError, Account, Role
from hepacast.web.audit import AuditTrail
from hepacast.web.places import Places
from hepacast.web.slices import SliceStore

#: Folder of what the application itself keeps, in the served folder.
STATE = ".hepacast"


@dataclass
class Site:
    """One served folder.

    Parameters
    ----------
    places
        Folders that may be read; studies lie in the first.
    access
        Tokens and sessions.
    hosts
        Values of the header ``Host`` that are answered.
    secure
        Whether it is served by TLS.
    children
        Processes that this server has started, by the code of their study.
    slices
        Images and masks that were looked at last.
    """

    places: Places
    access: Access
    hosts: frozenset[str]
    secure: bool = False
    children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    slices: SliceStore = field(default_factory=SliceStore)
    audit: AuditTrail = field(init=False)

    def __post_init__(self) -> None:
        self.audit = AuditTrail(self.state)

    @property
    def state(self) -> Path:
        """Folder of what the application itself keeps."""
        return self.places.roots[0] / STATE

    @property
    def origins(self) -> frozenset[str]:
        """Values of the header ``Origin`` from which something may be changed."""
        scheme = "https" if self.secure else "http"
        return frozenset(f"{scheme}://{host}" for host in self.hosts)

    @property
    def cookie(self) -> str:
        """Name of the session's cookie: one a port, as browsers share cookies among the ports of a host."""
        return f"hepacast_{min(host.rpartition(':')[2] for host in self.hosts)}"


def _site(request: Request) -> Site:
    site: Site = request.app.state.site
    return site


def _account(request: Request) -> Account:
    account: Account = request.state.account
    return account


SiteOf = Annotated[Site, Depends(_site)]
AccountOf = Annotated[Account, Depends(_account)]


def needs(role: Role) -> Callable[..., None]:
    """A dependency of routes that only this role, or one above it, may use."""

    def check(account: AccountOf) -> None:
        require_role(account, role)

    return check


def require_role(account: Account, role: Role) -> None:
    """Refuse what only a role, or one above it, may do.

    Raises
    ------
    AccessError
        The account has another.
    """
    if not account.may(role):
        raise AccessError("Your role does not allow this.", expected=role, found=account.role)


def study_folder(code: str, site: SiteOf) -> Path:
    """The folder of the study that an address names."""
    return site.places.study(code)


#: The study of an address with ``{code}``.
StudyFolder = Annotated[Path, Depends(study_folder)]
#: As dependencies of routes.
REVIEWER, OWNER = [Depends(needs("reviewer"))], [Depends(needs("owner"))]
