"""The file that says what a node does."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hepacast.core.files import write_text
from hepacast.core.yaml_text import read_yaml, replace_scalars
from hepacast.errors import StudyFileError
from hepacast.pacs.choose import SeriesRule
from hepacast.pacs.peer import AE_TITLE
from hepacast.study.schema.base import Part, option

#: Characters of a bundle's identity that pin it.
SHORTEST_PIN = 12


class Listening(Part):
    """Where the node listens, and to whom."""

    aet: str = option(AE_TITLE, "AE title of the node; callers must name it.", max_length=16)
    host: str = option("127.0.0.1", "Address to listen on; another than loopback is open to the network.")
    port: int = option(11112, "Port.", ge=1, le=65535)
    callers: dict[str, str] = option(dict, "Who may send: address by AE title.", example={"PACS": "10.1.2.3"})


class PinnedModel(Part):
    """The model, and that it is this one."""

    bundle: str = option(..., "Model bundle.")
    identity: str = option(..., "First characters of its identity: another bundle is refused.", min_length=SHORTEST_PIN)
    name: str = option("", "Model of the bundle; the main one where none is named.")
    segmenter: str = option("", "As --segmenter of predict.")
    accept_doubtful: bool = option(False, "Predict although image and masks look impossible.")
    without_rows: bool = option(False, "Refuse a bundle that holds values of single training patients.")


class LabTable(Part):
    """Clinical values by patient."""

    table: str = option(..., "CSV or Excel file, a row a patient; read anew for every study.")
    id: str = option("PatientID", "Header of the column that holds the PatientID of the images.")


class Research(Part):
    """De-identified copies of what was received."""

    folder: str = option(..., "Folder for them, one a study.")


class NodeConfig(Part):
    """Everything about a node."""

    folder: str = option(..., "Folder of the queue; holds patients' images until they are deleted.")
    listen: Listening = option(Listening, "Where to listen.")
    model: PinnedModel = option(..., "The model.")
    series: dict[str, SeriesRule] = option(..., "Rule of the series by sequence of the model.", min_length=1)
    labs: LabTable | None = option(None, "Clinical values, where the model reads some.")
    send_to: list[str] = option(..., "Peers that get results: https://HOST/dicom-web or AET@HOST:PORT.", min_length=1)
    quiet_s: float = option(30.0, "A study is complete when nothing has come for so long.", unit="s", ge=0)
    keep_hours: float = option(24.0, "Received images and results are deleted so long after they were confirmed.", ge=0)
    keep_failed_hours: float = option(168.0, "The same of studies that failed.", ge=0)
    tries: int = option(12, "So often a prediction is tried before it is given up.", ge=1)
    send_tries: int = option(100, "So often sending is tried; with the pauses below about four days.", ge=1)
    wait_s: float = option(10.0, "Pause after the first failure; it doubles with each.", unit="s", gt=0)
    longest_wait_s: float = option(3600.0, "Longest pause.", unit="s", gt=0)
    research: Research | None = option(None, "De-identified copies for research.")


def read_config(path: str | Path) -> NodeConfig:
    """Read the file; relative paths start at its folder.

    Raises
    ------
    StudyFileError
        It is missing, has an unknown key or a value that is not allowed, or would let anybody in.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise StudyFileError("The node's file cannot be read.", found=type(error).__name__, where=str(path)) from error
    data, _ = read_yaml(text, what="node's file", where=str(path))
    try:
        config = NodeConfig.model_validate(data)
    except ValidationError as error:
        found = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise StudyFileError("The node's file has mistakes.", found="; ".join(found), where=str(path)) from error
    _require_guarded(config.listen, path)
    return config.model_copy(update=_absolute(config, path.resolve().parent))


def pin_model(path: str | Path, bundle: str, identity: str) -> None:
    """Name another bundle and its identity in the node's file; whatever else stands there stays.

    A node that runs goes on with the model it has, and takes this one up when it is started again.

    Raises
    ------
    StudyFileError
        The file cannot be read, or would be none.
    """
    path = Path(path)
    read_config(path)
    before = path.read_text(encoding="utf-8-sig")
    values: dict[tuple[str, ...], str] = {("model", "bundle"): bundle, ("model", "identity"): identity}
    write_text(path, replace_scalars(before, values, what="node's file", where=str(path)))
    try:
        read_config(path)
    except StudyFileError:
        write_text(path, before)
        raise


def _require_guarded(listen: Listening, path: Path) -> None:
    try:
        loopback = ipaddress.ip_address(listen.host).is_loopback
    except ValueError as error:
        raise StudyFileError("The node listens on an IP address.", found=listen.host, where=str(path)) from error
    if not listen.callers:
        found = "nobody" if loopback else "nobody, on an address that the network reaches"
        raise StudyFileError(
            "A node must be told who may send to it.", expected="listen.callers: {AET: ADDRESS}", found=found,
            where=str(path),
        )  # fmt: skip


def _absolute(config: NodeConfig, base: Path) -> dict[str, Any]:
    def of(text: str) -> str:
        return str(base / Path(text).expanduser())

    changed: dict[str, Any] = {
        "folder": of(config.folder),
        "model": config.model.model_copy(update={"bundle": of(config.model.bundle)}),
    }
    if config.labs is not None:
        changed["labs"] = config.labs.model_copy(update={"table": of(config.labs.table)})
    if config.research is not None:
        changed["research"] = Research(folder=of(config.research.folder))
    return changed
