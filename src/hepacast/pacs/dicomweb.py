"""DICOMweb: QIDO to ask, WADO to fetch, STOW to send."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from hepacast.core.optional import require
from hepacast.pacs.peer import FoundSeries, Instance, PacsError, number_of

#: Any transfer syntax: with a default one the PACS transcodes, and fails where it cannot (JPEG 2000).
_AS_STORED = (("application/dicom", "*"),)
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_SERIES_FIELDS = ["SeriesDescription", "SeriesNumber", "Modality", "NumberOfSeriesRelatedInstances", "SliceThickness"]


@dataclass(frozen=True)
class WebPeer:
    """A PACS behind a URL; `password` is ``user:password``, `token` a bearer token, `authority` a file of CAs (PEM)."""

    name: str
    password: str = ""
    token: str = ""
    authority: str = ""

    def __post_init__(self) -> None:
        host = urlsplit(self.name).hostname or ""
        if (self.password or self.token) and self.name.startswith("http:") and host not in _LOOPBACK:
            raise PacsError("A password would go over the network in clear.", expected="https://", where=self.name)

    @cached_property
    def _client(self) -> Any:
        api = require("dicomweb_client.api", purpose="DICOMweb", extra="pacs")
        import requests

        session = requests.Session()
        session.trust_env = False
        if self.authority:
            session.verify = self.authority
        if self.password:
            user, _, secret = self.password.partition(":")
            session.auth = (user, secret)
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else None
        client = api.DICOMwebClient(url=self.name.rstrip("/"), session=session, headers=headers, permissive_uid=True)
        # Its own repetition keeps everybody waiting for half a minute; who asks decides when to ask again.
        client.set_http_retry_params(retry=False)
        return client

    def echo(self) -> None:
        """Ask for one study."""
        with self._answering(search=False):
            self._client.search_for_studies(limit=1)

    def find(self, filters: Mapping[str, str]) -> list[FoundSeries]:
        """Series of the studies that fit."""
        found = []
        with self._answering():
            for study in self._client.search_for_studies(search_filters=dict(filters), get_remaining=True):
                uid = str(_value(study, "0020000D"))
                for item in self._client.search_for_series(uid, fields=_SERIES_FIELDS, get_remaining=True):
                    found.append(
                        FoundSeries(
                            uid,
                            str(_value(item, "0020000E")),
                            str(_value(item, "00080060") or ""),
                            number_of(_value(item, "00200011"), int),
                            str(_value(item, "0008103E") or ""),
                            str(_value(study, "00080020") or ""),
                            number_of(_value(item, "00201209"), int),
                            number_of(_value(item, "00180050"), float),
                        )
                    )
        return found

    def retrieve(self, series: FoundSeries) -> Iterator[tuple[str, bytes]]:
        """Instances as they are stored."""
        with self._answering(search=False):
            for item in self._client.iter_series(series.study, series.series, media_types=_AS_STORED):
                content = io.BytesIO()
                item.save_as(content, enforce_file_format=True)
                yield str(item.SOPInstanceUID), content.getvalue()

    def store(self, instances: Sequence[Instance]) -> dict[str, str]:
        """Send one after the other; what the answer does not name as stored is not stored, whatever its status says."""
        import pydicom
        import requests

        failed = {}
        for item in instances:
            try:
                answer = self._client.store_instances([pydicom.dcmread(item.path)])
            except requests.ConnectionError as error:
                raise self._silent(error) from error
            except (requests.RequestException, OSError, ValueError, KeyError) as error:
                failed[item.uid] = f"refused ({_reason(error)})"
                continue
            named = {str(one.ReferencedSOPInstanceUID) for one in answer.get("ReferencedSOPSequence") or ()}
            if item.uid not in named:
                codes = [f"0x{one.FailureReason:04X}" for one in answer.get("FailedSOPSequence") or ()]
                failed[item.uid] = f"not stored ({', '.join(codes) or 'the answer names no stored instance'})"
        return failed

    def holds(self, instances: Sequence[Instance]) -> set[str]:
        """Those that a search finds."""
        found: set[str] = set()
        for study, series in {(item.study, item.series) for item in instances}:
            answers: Sequence[Mapping[str, Any]] = ()
            with self._answering():
                answers = self._client.search_for_instances(study, series, get_remaining=True)
            found |= {str(_value(item, "00080018")) for item in answers}
        return found & {item.uid for item in instances}

    @contextmanager
    def _answering(self, *, search: bool = True) -> Iterator[None]:
        """Tell what goes wrong inside; a search that some servers answer by "not found" has found nothing."""
        import requests

        try:
            yield
        except requests.HTTPError as error:
            status = getattr(error.response, "status_code", None)
            if status == 404 and search:
                return
            raise PacsError("The PACS refuses.", found=_reason(error), where=self.name) from error
        except (requests.RequestException, OSError) as error:
            raise self._silent(error) from error
        except (ValueError, KeyError) as error:
            raise PacsError("The PACS's answer is no DICOMweb.", found=type(error).__name__, where=self.name) from error

    def _silent(self, error: Exception) -> PacsError:
        return PacsError("The PACS does not answer.", found=type(error).__name__, where=self.name)


def _reason(error: Exception) -> str:
    """HTTP status, or the error's kind; its text may quote the URL with a patient's number in it."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return f"HTTP {status}" if status else type(error).__name__


def _value(item: Mapping[str, Any], tag: str) -> Any:
    """First value of an attribute of DICOM JSON, None where there is none."""
    values = (item.get(tag) or {}).get("Value") or [None]
    return values[0]
