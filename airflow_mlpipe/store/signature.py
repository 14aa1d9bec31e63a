"""Signatures: whoever seals vouches for it with a key that is not in the datastore."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from airflow_mlpipe.errors import DefinitionError

SHORTEST_KEY = 32  # bytes

# What a key is used for, so that a code made for one use is worth nothing for the other.
_TO_SIGN = b"mlpipe manifest 1\n"
_TO_NAME = b"mlpipe key id 1\n"
_KEY_ID_DIGITS = 16


class Signature(BaseModel):
    """HMAC-SHA256 of a document without its signature, in hex, by the key called *key_id*."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    algorithm: Literal["hmac-sha256"]
    key_id: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    value: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Keyring:
    """The keys of a deployment: the first one signs, each of them is accepted. Without keys all is accepted.

    Raises DefinitionError for a key of less than 32 bytes; the message does not have the key.
    """

    def __init__(self, keys: Sequence[str] = ()) -> None:
        self._keys: dict[str, bytes] = {}
        for number, text in enumerate(keys, start=1):
            key = text.encode()
            if len(key) < SHORTEST_KEY:
                raise DefinitionError(
                    f"signing key {number} of {len(keys)} has {len(key)} bytes, which can be guessed; use "
                    f"{SHORTEST_KEY} or more, such as those that `openssl rand -hex 32` prints"
                )
            self._keys.setdefault(_key_id(key), key)

    def __repr__(self) -> str:
        return f"<Keyring of {', '.join(self.key_ids) or 'no keys'}>"

    @property
    def key_ids(self) -> tuple[str, ...]:
        """What the keys are called in signatures; that of the key which signs first."""
        return tuple(self._keys)

    def sign(self, data: bytes) -> Signature | None:
        """The signature of *data*; None without keys."""
        for key_id, key in self._keys.items():
            return Signature(algorithm="hmac-sha256", key_id=key_id, value=_code(key, _TO_SIGN + data))
        return None

    def doubt(self, data: bytes, signature: Signature | None) -> str | None:
        """Why *signature* does not vouch for *data*, in a few words; None when it does."""
        if not self._keys:
            return None
        if signature is None:
            return "it is not signed, and [mlpipe] signing_key asks for signatures"
        key = self._keys.get(signature.key_id)
        if key is None:
            return f"it is signed with the key {signature.key_id}, which is none of [mlpipe] signing_key"
        if not hmac.compare_digest(_code(key, _TO_SIGN + data), signature.value):
            return "its signature is wrong: it was changed after it was sealed"
        return None


NO_KEYS = Keyring()


def _key_id(key: bytes) -> str:
    # Made with the key, not of it: who reads it can test a guess of the key, as with any signature, no more.
    return _code(key, _TO_NAME)[:_KEY_ID_DIGITS]


def _code(key: bytes, data: bytes) -> str:
    return hmac.new(key, data, hashlib.sha256).hexdigest()
