from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import manifest_key
from airflow_mlpipe.store.manifest import Manifest, ManifestUnusable, parse_manifest, read_manifest
from airflow_mlpipe.store.sealing import seal
from airflow_mlpipe.store.signature import NO_KEYS, Keyring, Signature

FINGERPRINT = "ab" * 32
KEY, OTHER = "k" * 32, "o" * 32
RELEASED = (Path(__file__).parents[2] / "fixtures" / "manifest-v1.json").read_bytes()


def test_the_signature_is_the_hmac_of_a_header_and_the_document_without_it(
    local: Datastore, make_manifest: Any
) -> None:
    signed = make_manifest(local).signed(Keyring([KEY]))
    document = json.loads(signed.to_bytes())
    signature = document.pop("signature")
    text = json.dumps(document, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    expected = hmac.new(KEY.encode(), b"mlpipe manifest 1\n" + text, hashlib.sha256).hexdigest()
    assert signature == {"algorithm": "hmac-sha256", "key_id": "61a664e6f060398c", "value": expected}


def test_the_signature_of_the_released_document_is_good_for_its_key() -> None:
    assert parse_manifest(RELEASED, FINGERPRINT, Keyring([KEY])).signature
    with pytest.raises(ManifestUnusable, match="its signature is wrong"):
        parse_manifest(RELEASED.replace(b"worker-1", b"worker-2"), FINGERPRINT, Keyring([KEY]))


def test_a_signed_manifest_is_read_by_who_has_the_key(local: Datastore, make_manifest: Any) -> None:
    manifest = seal(local, make_manifest(local), keyring=Keyring([KEY]))
    assert manifest.signature is not None
    assert read_manifest(local, FINGERPRINT, Keyring([KEY])) == manifest


def test_who_has_no_key_reads_signed_and_unsigned_manifests(local: Datastore, make_manifest: Any) -> None:
    manifest = make_manifest(local)
    assert manifest.signed(NO_KEYS) is manifest
    for document in (manifest, manifest.signed(Keyring([KEY]))):
        assert parse_manifest(document.to_bytes(), FINGERPRINT) == document


def test_an_unsigned_manifest_is_unusable_where_there_is_a_key(local: Datastore, make_manifest: Any) -> None:
    seal(local, make_manifest(local))
    with pytest.raises(ManifestUnusable, match=r"it is not signed, and \[mlpipe\] signing_key asks"):
        read_manifest(local, FINGERPRINT, Keyring([KEY]))


def test_a_signature_by_another_key_is_unusable_and_says_which(local: Datastore, make_manifest: Any) -> None:
    seal(local, make_manifest(local), keyring=Keyring([OTHER]))
    with pytest.raises(ManifestUnusable, match=f"signed with the key {Keyring([OTHER]).key_ids[0]}, which"):
        read_manifest(local, FINGERPRINT, Keyring([KEY]))


def test_an_older_key_is_accepted_and_the_newest_signs(local: Datastore, make_manifest: Any) -> None:
    before, after = Keyring([OTHER]), Keyring([KEY, OTHER])
    manifest = make_manifest(local)
    assert parse_manifest(manifest.signed(before).to_bytes(), FINGERPRINT, after).signature
    with pytest.raises(ManifestUnusable):
        parse_manifest(manifest.signed(after).to_bytes(), FINGERPRINT, before)


def changes(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every document that differs from *document* in one place, with the path of that place."""
    if isinstance(document, dict):
        for key, value in document.items():
            for where, changed in changes(value, (*path, key)):
                yield where, {**document, key: changed}
    elif isinstance(document, list):
        for index, value in enumerate(document):
            for where, changed in changes(value, (*path, index)):
                yield where, [*document[:index], changed, *document[index + 1 :]]
    elif isinstance(document, bool):
        yield path, not document
    elif isinstance(document, (int, float)):
        yield path, document + 1
    elif isinstance(document, str):
        yield path, f"0{document[:-1]}" if document[:1] != "0" else f"1{document[1:]}"
    elif document is None:
        yield path, "0" * 64


def test_no_part_of_a_signed_manifest_can_be_changed(local: Datastore, make_manifest: Any) -> None:
    keyring = Keyring([KEY])
    made = make_manifest(
        local,
        outputs={"data": {"a": b"1", "sub/b": b"22"}, "model": b"3"},
        results={"accuracy": 0.97, "loss": [0.5, 0.25]},
        tags={"team": "vision"},
    )
    document = json.loads(made.signed(keyring).to_bytes())
    assert is_accepted(document, keyring)
    tried = list(changes(document))
    assert len(tried) > 40
    accepted = [path for path, changed in tried if is_accepted(changed, keyring)]
    assert accepted == []


def is_accepted(document: Any, keyring: Keyring) -> bool:
    try:
        parse_manifest(json.dumps(document).encode(), FINGERPRINT, keyring)
    except ManifestUnusable:
        return False
    return True


def test_a_signature_cannot_be_moved_to_another_manifest(local: Datastore, make_manifest: Any) -> None:
    keyring = Keyring([KEY])
    signature = make_manifest(local, "attempt-1").signed(keyring).signature
    forged = make_manifest(local, "attempt-2").model_copy(update={"signature": signature})
    with pytest.raises(ManifestUnusable, match="its signature is wrong"):
        parse_manifest(forged.to_bytes(), FINGERPRINT, keyring)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=10,
)


@given(
    results=st.dictionaries(st.text(st.characters(codec="utf-8")), json_values),
    key=st.text(st.characters(codec="utf-8"), min_size=32),
)
def test_what_is_signed_is_accepted_when_it_is_read_again(results: dict[str, Any], key: str) -> None:
    keyring = Keyring([key])
    manifest = Manifest.model_validate_json(RELEASED).model_copy(update={"results": results}).signed(keyring)
    assert parse_manifest(manifest.to_bytes(), FINGERPRINT, keyring).results == results


def test_an_unsigned_manifest_that_was_sealed_meanwhile_does_not_win(
    local: Datastore, make_manifest: Any
) -> None:
    seal(local, make_manifest(local, "attempt-1"))
    with pytest.raises(ManifestUnusable, match="it is not signed"):
        seal(local, make_manifest(local, "attempt-2"), keyring=Keyring([KEY]))


def test_an_unsigned_manifest_gives_way_to_a_signed_one_when_asked(
    local: Datastore, make_manifest: Any
) -> None:
    keyring = Keyring([KEY])
    seal(local, make_manifest(local, "attempt-1"))
    seen = hashlib.sha256(local.read(manifest_key(FINGERPRINT)) or b"").hexdigest()
    sealed = seal(local, make_manifest(local, "attempt-2"), replaces=seen, keyring=keyring)
    assert read_manifest(local, FINGERPRINT, keyring) == sealed


@pytest.mark.parametrize("length", [0, 1, 31])
def test_a_short_key_is_refused_without_being_told(length: int) -> None:
    short = "s3cr" * 10
    with pytest.raises(DefinitionError, match=f"signing key 2 of 2 has {length} bytes") as raised:
        Keyring([KEY, short[:length]])
    assert "openssl rand -hex 32" in str(raised.value)
    assert "s3cr" not in str(raised.value)


def test_a_keyring_does_not_show_its_keys() -> None:
    keyring = Keyring([KEY, OTHER])
    assert KEY not in repr(keyring)
    assert repr(keyring) == f"<Keyring of {keyring.key_ids[0]}, {keyring.key_ids[1]}>"
    assert repr(NO_KEYS) == "<Keyring of no keys>"


def test_the_id_of_a_key_is_no_part_or_plain_digest_of_it() -> None:
    (key_id,) = Keyring([KEY]).key_ids
    plain = {hashlib.new(name, KEY.encode()).hexdigest() for name in ("md5", "sha1", "sha256", "sha512")}
    assert key_id not in KEY.encode().hex()
    assert not any(key_id in digest for digest in plain)


def test_the_id_of_a_key_is_no_signature_of_anything() -> None:
    keyring = Keyring([KEY])
    signed = keyring.sign(b"key id 1\n")
    assert signed is not None
    assert not signed.value.startswith(keyring.key_ids[0])


def test_a_signature_of_another_algorithm_is_unusable(local: Datastore, make_manifest: Any) -> None:
    document = json.loads(make_manifest(local).signed(Keyring([KEY])).to_bytes())
    document["signature"]["algorithm"] = "none"
    with pytest.raises(ManifestUnusable, match=r"signature\.algorithm"):
        parse_manifest(json.dumps(document).encode(), FINGERPRINT, Keyring([KEY]))


def test_without_keys_nothing_is_computed() -> None:
    assert NO_KEYS.sign(b"") is None
    assert NO_KEYS.doubt(b"", Signature(algorithm="hmac-sha256", key_id="0" * 16, value="0" * 64)) is None
