"""What a target is told of a file: a CloudEvent. Pure."""

import base64
import uuid
from datetime import UTC, datetime
from typing import Any

import msgspec

from forerun.model import Message
from forerun.sources.folders.settling import Told
from forerun.storage.folders import Folder

PRINCIPAL = "folders.forerun"
TYPE = "dev.forerun.file."


def folder_arn(region: str, account: str, name: str) -> str:
    """``arn:aws:forerun:REGION:ACCOUNT:folder/NAME``."""
    return f"arn:aws:forerun:{region}:{account}:folder/{name}"


def make_message(folder: Folder, told: Told, region: str, now: float) -> Message:
    """The message for one file. Its id is the same whenever the same state of the file is told."""
    arn = folder_arn(region, folder.account, folder.name)
    mark = told.mark
    state = f"{told.kind}&{told.path.hex()}&{mark.mtime_ns}&{mark.size}&{mark.inode}"
    message_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{arn}?{folder.id}&{state}"))
    subject = told.path.decode("utf-8", "backslashreplace")
    data: dict[str, Any] = {
        "folder": folder.name,
        "path": f"{folder.config.path.rstrip('/')}/{subject}",
        "size": mark.size,
        "mtime": mark.mtime_ns / 1e9,
        "settled": told.settled,
    }
    if subject.encode("utf-8", "surrogatepass") != told.path:
        data["path_base64"] = base64.b64encode(told.path).decode()
    event = {
        "specversion": "1.0",
        "id": message_id,
        "source": arn,
        "type": TYPE + told.kind,
        "subject": subject,
        "time": datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds"),
        "datacontenttype": "application/json",
        "data": data,
    }
    target = folder.config.target
    attributes: dict[str, str] = {}
    payload = msgspec.json.encode(event)
    if target.startswith("http"):
        attributes = {"header:content-type": "application/cloudevents+json"}
    elif ":event-bus/" in target:
        payload = msgspec.json.encode(data | {"subject": subject})
        attributes = {
            "Source": "dev.forerun.folders",
            "DetailType": TYPE + told.kind,
            "Resources": msgspec.json.encode([arn]).decode(),
        }
    elif target.endswith(".fifo"):
        # States of one file are told in order.
        group = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{arn}?{told.path.hex()}"))
        attributes = {"MessageGroupId": group, "MessageDeduplicationId": message_id}
    return Message(
        id=message_id,
        account=folder.account,
        source=arn,
        principal=PRINCIPAL,
        target=target,
        payload=payload,
        attributes=attributes,
        occurred_at=now,
    )
