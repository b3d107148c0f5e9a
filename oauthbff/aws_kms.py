"""Keys in AWS KMS: `OAUTHBFF["KEYS"] = {"kms-1": "awskms:arn:aws:kms:…:key/…"}`.

Needs `pip install oauthbff[aws]`. An ARN says its region; an id or alias takes it from the
environment, as boto3 does for credentials and endpoints (`AWS_ENDPOINT_URL_KMS`). The
encryption context is `{"oauthbff": "grant:<handle>"}`, which CloudTrail shows for each use and
an IAM condition can demand. The role needs kms:Encrypt and kms:Decrypt on the key.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from .errors import KeyStoreUnavailable, SealBroken

#: A call of the SPA waits at most twice this long for KMS: once more after a lost answer.
CONFIG = Config(connect_timeout=1, read_timeout=2, retries={"total_max_attempts": 2})
#: KMS's word for: not wrapped by me, or not for this context. All else may pass.
REFUSALS = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})

# At DEBUG botocore writes each request and answer into the log: data keys in clear.
for _name in ("botocore", "boto3"):
    if logging.getLogger(_name).level == logging.NOTSET:
        logging.getLogger(_name).setLevel(logging.INFO)


class KeyStore:
    """A `datakeys.KeyStore`. One client per region, made when first needed."""

    def __init__(self) -> None:
        self._clients: dict[str | None, Any] = {}
        self._making = threading.Lock()

    def wrap(self, name: str, data_key: bytes, context: Mapping[str, str]) -> bytes:
        asked = {"KeyId": name, "Plaintext": data_key, "EncryptionContext": dict(context)}
        return self._ask("encrypt", asked, "CiphertextBlob")

    def unwrap(self, name: str, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        asked = {"KeyId": name, "CiphertextBlob": wrapped, "EncryptionContext": dict(context)}
        return self._ask("decrypt", asked, "Plaintext")

    def _ask(self, verb: str, asked: dict[str, Any], wanted: str) -> bytes:
        try:
            answer: bytes = getattr(self._client(asked["KeyId"]), verb)(**asked)[wanted]
        except ClientError as exc:
            code = str(exc.response.get("Error", {}).get("Code", "odd"))
            if code in REFUSALS:
                raise SealBroken(f"KMS answered {code}") from None
            raise KeyStoreUnavailable(f"KMS answered {code}") from None
        except BotoCoreError as exc:
            raise KeyStoreUnavailable(f"KMS cannot be asked: {type(exc).__name__}") from None
        return answer

    def _client(self, name: str) -> Any:
        parts = name.split(":")
        region = parts[3] if len(parts) > 3 and parts[0] == "arn" else None
        with self._making:  # making one is not thread-safe, using it is
            if region not in self._clients:
                session = boto3.session.Session()
                self._clients[region] = session.client("kms", region_name=region, config=CONFIG)
            return self._clients[region]
