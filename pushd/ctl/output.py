"""How what is heard is shown, or handed to a program."""

import base64
import json
import os
import shlex
import subprocess
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import BinaryIO

from pushd.ctl.clients import Heard


def data_of(message: Heard) -> bytes:
    """Give the data of a message as it was published."""
    if "data_base64" in message:
        return base64.b64decode(message["data_base64"])
    data = message["data"]
    is_json = str(message["content_type"]).partition(";")[0].strip().lower() == "application/json"
    return json.dumps(data, ensure_ascii=False).encode() if is_json else str(data).encode()


def write_data(out: BinaryIO, message: Heard, is_named: bool) -> None:
    """Write the data and a line end, behind the channel where there may be several."""
    name = f"{message['channel']}\t".encode() if is_named else b""
    out.write(name + data_of(message) + b"\n")
    out.flush()


def write_json(out: BinaryIO, heard: Heard) -> None:
    """Write a message or control object as a line of JSON."""
    out.write(json.dumps(heard, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
    out.flush()


def write_passing(out: BinaryIO, message: Heard, crowd: str) -> None:
    """Write a line about a message: when, where, its id, event, type, size and who hears it, but not what it says."""
    when = datetime.fromtimestamp(message.get("time", time.time()), UTC).strftime("%H:%M:%S.%f")[:-3]
    words = (message["id"], message.get("event", "-"), message["content_type"].replace(" ", ""))
    out.write(f"{when} {message['channel']} {' '.join(words)} {len(data_of(message))} B {crowd}\n".encode())
    out.flush()


def run_program(command: str, message: Heard) -> int:
    """Run a program for a message, the data on its standard input; give its exit status.

    :raises OSError: it can not be run.
    """
    names = {"id": "PUSHD_ID", "channel": "PUSHD_CHANNEL", "event": "PUSHD_EVENT", "content_type": "PUSHD_CONTENT_TYPE"}
    told = {variable: str(message[name]) for name, variable in names.items() if name in message}
    environ: Mapping[str, str] = {**os.environ, **told}
    return subprocess.run(shlex.split(command), input=data_of(message), env=environ, check=False).returncode
