"""A KMS to test against: moto's, an independent implementation of the AWS API, as a child process.

with KMS(folder) as kms:
    site = make_site(env=kms.env | {"OAUTHBFF_KEYS": kms.key("kms-1")})
    with kms.hanging():        # it takes connections and answers nothing
        ...
    kms.calls                  # how often it was asked
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import boto3

from tests.support.ports import LOOPBACK, free_port
from tests.support.processes import Child


class KMS:
    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.env = {
            "AWS_ENDPOINT_URL_KMS": f"http://{LOOPBACK}:{self.port}",
            "AWS_ACCESS_KEY_ID": "AKIA-of-the-tests",
            "AWS_SECRET_ACCESS_KEY": "secret-of-the-tests",
            "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        command = [sys.executable, "-m", "moto.server", "-H", LOOPBACK, "-p", str(self.port)]
        env = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONUNBUFFERED": "1"}
        self._child = Child("moto", command, log=folder / "kms.log", env=env)

    def start(self) -> Self:
        self._child.start(self._answers, seconds=60)
        return self

    def stop(self) -> None:
        self._child.stop()

    __enter__ = start

    def __exit__(self, *_: object) -> None:
        self.stop()

    def key(self, key_id: str) -> str:
        """Make a key; return the entry of OAUTHBFF_KEYS that names it."""
        made = self._client().create_key()["KeyMetadata"]["Arn"]
        return f"{key_id}:awskms:{made}"

    @property
    def calls(self) -> int:
        return self._child.log().count('"POST / HTTP/')

    @contextlib.contextmanager
    def hanging(self) -> Iterator[None]:
        os.killpg(self._child.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self._child.pid, signal.SIGCONT)

    def _client(self) -> Any:
        return boto3.session.Session(
            aws_access_key_id=self.env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.env["AWS_SECRET_ACCESS_KEY"],
            region_name=self.env["AWS_DEFAULT_REGION"],
        ).client("kms", endpoint_url=self.env["AWS_ENDPOINT_URL_KMS"])

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, self.port), 5):
            return True
        return False
