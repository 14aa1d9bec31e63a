from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import pytest

from airflow_mlpipe.errors import MLPipeError, StoreError
from airflow_mlpipe.pipeline.lookup import Sensing, sense
from airflow_mlpipe.pipeline.recipes import keep_recipe
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.reuse.decision import Policy, Switch
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.invalidation import COLLECTOR, Invalidations
from airflow_mlpipe.store.journal import Journal
from airflow_mlpipe.store.layout import manifest_key
from airflow_mlpipe.store.signature import Keyring
from tests.footprint import tree
from tests.unit.pipeline.sealed import IDENTITY, output_path, prepared, sealed, settings

STEP = prepared("--lr", "0.1")
KEY = "a-key-of-the-deployment-" * 2
DAY = 86400.0


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    """Three empty stores, one of them the deployment's own."""
    own, *others = (Datastore.open(str(tmp_path / name)) for name in ("own", "first", "second"))
    return Stores(own, tuple(others))


def look(stores: Stores, policy: Policy | None = None, verify: str = "size") -> Sensing:
    return sense(STEP, policy or Policy(), IDENTITY, settings(verify=verify), stores)


def kinds(sensing: Sensing) -> list[str]:
    return [reason.kind for reason in sensing.decision.reasons]


def seen(datastore: Datastore) -> str:
    return hashlib.sha256(datastore.read(manifest_key(STEP.fingerprint)) or b"").hexdigest()


def test_nothing_anywhere_is_a_first_run(stores: Stores) -> None:
    sensing = look(stores)
    assert kinds(sensing) == ["first"]
    assert (sensing.manifest, sensing.seen, sensing.compared_with) == (None, "", None)


def test_the_own_store_is_asked_before_the_others(stores: Stores) -> None:
    ours = sealed(stores.own, STEP, attempt="ours")
    sealed(stores.others[0], STEP, attempt="theirs")
    sensing = look(stores)
    assert (sensing.manifest, sensing.datastore, sensing.seen) == (ours, stores.own, seen(stores.own))


@pytest.mark.parametrize("place", [0, 1])
def test_outputs_of_another_store_are_reused_where_they_lie(stores: Stores, place: int) -> None:
    theirs = sealed(stores.others[place], STEP)
    sensing = look(stores)
    assert kinds(sensing) == ["reused"]
    assert (sensing.manifest, sensing.datastore) == (theirs, stores.others[place])
    assert sensing.seen == ""
    assert sensing.reused().datastore is stores.others[place]


def test_the_other_stores_are_asked_in_order(stores: Stores) -> None:
    sealed(stores.others[1], STEP, attempt="second")
    first = sealed(stores.others[0], STEP, attempt="first")
    assert look(stores).manifest == first


def test_what_is_too_old_here_may_be_young_elsewhere(stores: Stores) -> None:
    sealed(stores.own, STEP, attempt="old", age=9 * DAY)
    young = sealed(stores.others[1], STEP, attempt="young", age=DAY)
    sensing = look(stores, Policy(max_age=7 * DAY))
    assert (sensing.manifest, sensing.datastore) == (young, stores.others[1])


def test_what_is_too_old_everywhere_is_told_by_the_first_and_may_be_replaced(stores: Stores) -> None:
    sealed(stores.own, STEP, attempt="old", age=9 * DAY)
    sealed(stores.others[0], STEP, attempt="older", age=12 * DAY)
    sensing = look(stores, Policy(max_age=7 * DAY))
    assert sensing.decision.why == "outputs of retrain/run-1/train are 9 d old, max_age is 7 d"
    assert (sensing.manifest, sensing.seen) == (None, seen(stores.own))


def test_damage_here_is_passed_over_for_whole_outputs_elsewhere_and_told(
    stores: Stores, caplog: pytest.LogCaptureFixture
) -> None:
    output_path(stores.own, sealed(stores.own, STEP)).unlink()
    theirs = sealed(stores.others[0], STEP, attempt="theirs")
    with caplog.at_level(logging.WARNING):
        sensing = look(stores)
    assert (sensing.manifest, kinds(sensing)) == (theirs, ["reused"])
    assert (
        "Passed over: stored outputs of retrain/run-1/train are damaged: output 'model' is missing"
        in caplog.text
    )


def test_damage_everywhere_is_told_of_each_and_only_the_own_manifest_may_be_replaced(stores: Stores) -> None:
    for store, attempt in zip(stores, ("a", "b", "c"), strict=True):
        output_path(store, sealed(store, STEP, attempt=attempt)).unlink()
    sensing = look(stores)
    assert kinds(sensing) == ["unusable"] * 3
    assert sensing.seen == seen(stores.own)
    assert sensing.datastore is stores.own


def test_damage_elsewhere_alone_replaces_nothing(stores: Stores) -> None:
    output_path(stores.others[0], sealed(stores.others[0], STEP)).unlink()
    sensing = look(stores)
    assert kinds(sensing) == ["unusable"]
    assert sensing.seen == ""


def test_an_unreadable_manifest_is_unusable_and_says_why(stores: Stores) -> None:
    stores.own.write(manifest_key(STEP.fingerprint), b"{")
    sensing = look(stores)
    assert kinds(sensing) == ["unusable"]
    assert "cannot be used" in sensing.decision.why
    assert sensing.seen == hashlib.sha256(b"{").hexdigest()


def test_a_flipped_byte_is_seen_when_every_byte_is_verified(stores: Stores) -> None:
    path = output_path(stores.own, sealed(stores.own, STEP, text="weights"))
    path.chmod(0o644)
    path.write_text("weightS")
    assert kinds(look(stores, verify="size")) == ["reused"]
    assert kinds(look(stores, verify="digest")) == ["unusable"]
    path.unlink()
    assert kinds(look(stores, verify="none")) == ["reused"]


def test_invalidated_outputs_say_who_and_why(stores: Stores) -> None:
    sealed(stores.own, STEP)
    Invalidations(stores.own).invalidate(STEP.fingerprint, "ada", "bad labels")
    sensing = look(stores)
    assert sensing.decision.why == "its outputs were invalidated by ada 0 s ago: bad labels"
    assert sensing.seen == ""


def test_outputs_of_another_store_that_were_invalidated_here_are_not_reused(stores: Stores) -> None:
    sealed(stores.others[0], STEP)
    Invalidations(stores.own).distrust(STEP.fingerprint, "d/r/use", "output model was damaged")
    assert kinds(look(stores)) == ["invalidated"]
    ours = sealed(stores.own, STEP, attempt="ours")
    assert look(stores).manifest == ours
    Invalidations(stores.own).forget(STEP.fingerprint)
    assert look(stores).manifest == ours


def test_what_was_invalidated_in_another_store_is_not_there(stores: Stores) -> None:
    sealed(stores.others[0], STEP)
    Invalidations(stores.others[0]).invalidate(STEP.fingerprint, "ada")
    assert kinds(look(stores)) == ["first"]


@pytest.mark.parametrize(
    "policy",
    [Policy((Switch("refresh", "the run's configuration"),)), Policy(why_not_allowed="allow_reuse is False")],
)
def test_what_may_not_be_reused_is_not_verified_but_known_for_replacement(
    stores: Stores, policy: Policy
) -> None:
    output_path(stores.own, sealed(stores.own, STEP)).unlink()
    sensing = look(stores, policy, verify="digest")
    assert kinds(sensing) != ["unusable"]
    assert (sensing.manifest, sensing.seen) == (None, seen(stores.own))


def test_a_part_that_is_not_known_forbids_reuse(stores: Stores) -> None:
    sealed(stores.own, STEP)
    step = prepared("--lr", "0.1", undetermined=("input raw: the server gives no etag",))
    sensing = sense(step, Policy(), IDENTITY, settings(), stores)
    assert sensing.decision.sentence() == "running: input raw: the server gives no etag"


def test_what_was_merely_collected_here_is_reused_from_another_store(stores: Stores) -> None:
    sealed(stores.others[0], STEP)
    Invalidations(stores.own).distrust(STEP.fingerprint, COLLECTOR, "not used for too long")
    assert look(stores).datastore is stores.others[0]


def ran(datastore: Datastore, *arguments: str) -> str:
    """Leave what a run of the task with *arguments* left whose manifest is gone; its fingerprint."""
    step = prepared(*arguments)
    keep_recipe(datastore, step.recipe)
    Journal(datastore).record("retrain", "train", -1, "run-1", step.fingerprint)
    return step.fingerprint


def test_a_change_is_told_against_the_nearest_earlier_recipe(stores: Stores) -> None:
    nearest = ran(stores.own, "--lr", "0.2")
    ran(stores.own, "--lr", "0.3", "--fast")
    sensing = look(stores)
    assert sensing.decision.why == "argument --lr 0.2 -> 0.1"
    assert sensing.compared_with == nearest


def test_an_equal_recipe_whose_outputs_are_gone_is_told_as_such(stores: Stores) -> None:
    fingerprint = ran(stores.own, "--lr", "0.1")
    sensing = look(stores)
    assert (kinds(sensing), sensing.compared_with) == (["gone"], fingerprint)


def test_a_recipe_that_was_reused_from_another_store_is_compared_with(stores: Stores) -> None:
    theirs = sealed(stores.others[1], prepared("--lr", "0.2"))
    Journal(stores.own).record("retrain", "train", -1, "run-1", theirs.fingerprint)
    sensing = look(stores)
    assert (sensing.decision.why, sensing.compared_with) == ("argument --lr 0.2 -> 0.1", theirs.fingerprint)


def test_a_new_deployment_is_told_what_changed_since_the_others(stores: Stores) -> None:
    ran(stores.others[0], "--lr", "0.2")
    assert look(stores).decision.why == "argument --lr 0.2 -> 0.1"


def test_recipes_that_cannot_be_read_are_left_out(stores: Stores) -> None:
    Journal(stores.own).record("retrain", "train", -1, "run-0", "ab" * 32)
    nearest = ran(stores.own, "--lr", "0.2")
    assert look(stores).compared_with == nearest


def test_looking_writes_nothing(stores: Stores, tmp_path: Path) -> None:
    output_path(stores.own, sealed(stores.own, STEP, attempt="a")).unlink()
    sealed(stores.others[0], STEP, attempt="b", age=9 * DAY)
    ran(stores.others[1], "--lr", "0.2")
    before = tree(tmp_path)
    for verify in ("size", "digest"):
        look(stores, verify=verify)
        look(stores, Policy(max_age=DAY), verify=verify)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("place", ["own", "second"])
def test_a_store_that_cannot_be_read_is_an_error_and_no_miss(
    stores: Stores, tmp_path: Path, place: str
) -> None:
    unreadable = tmp_path / place / manifest_key(STEP.fingerprint)
    unreadable.parent.mkdir(parents=True)
    unreadable.symlink_to(unreadable)  # a loop; permissions mean nothing to root
    with pytest.raises(StoreError, match="cannot read"):
        look(stores)


@pytest.fixture
def signing(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> Stores:
    """The stores of a deployment that has a key."""
    monkeypatch.setenv("AIRFLOW_VAR_SIGNING", KEY)
    return Stores(stores.own, stores.others, "variable:signing")


def test_signed_outputs_are_reused(signing: Stores) -> None:
    manifest = sealed(signing.own, STEP, keyring=Keyring([KEY]))
    assert look(signing).manifest == manifest


@pytest.mark.parametrize(("keys", "problem"), [([], "it is not signed"), (["x" * 32], "signed with the key")])
def test_outputs_without_a_good_signature_are_a_miss_that_says_so(
    signing: Stores, keys: list[str], problem: str
) -> None:
    sealed(signing.own, STEP, keyring=Keyring(keys))
    sensing = look(signing)
    assert kinds(sensing) == ["unusable"]
    assert problem in sensing.decision.why
    assert sensing.seen == seen(signing.own)


def test_unsigned_outputs_are_passed_over_for_signed_ones(signing: Stores) -> None:
    sealed(signing.own, STEP, attempt="forged")
    theirs = sealed(signing.others[0], STEP, attempt="theirs", keyring=Keyring([KEY]))
    assert look(signing).manifest == theirs


def test_a_missing_key_is_an_error_before_anything_is_run(stores: Stores) -> None:
    without = Stores(stores.own, stores.others, "variable:nowhere")
    for policy in (Policy(), Policy((Switch("refresh", "the run's configuration"),))):
        with pytest.raises(MLPipeError, match="variable 'nowhere'"):
            look(without, policy)
