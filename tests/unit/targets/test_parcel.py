from __future__ import annotations

import gzip
import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from airflow_mlpipe.errors import InfrastructureError, StepError, TargetError, UserError
from airflow_mlpipe.records import LaunchSpec, Private, RunInfo, from_json
from airflow_mlpipe.targets.parcel import LARGEST_SECRET, Parcel, boot_command, carrier_failure
from airflow_mlpipe.targets.runtime_bundle import runtime_bundle

RUN_INFO = RunInfo("train-1", "digits", "digits", "manual-1", "train", -1, 1)


def spec(**environment: str) -> LaunchSpec:
    return LaunchSpec(
        "train-1", "f" * 64, ["true"], "/mlpipe/attempt", "/mlpipe/code", RUN_INFO, environment=environment
    )


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runtime_bundle(tmp_path_factory.mktemp("cache"))


def test_a_parcel_is_equal_for_equal_attempts_and_small(bundle: Path) -> None:
    first, second = (Parcel.of(spec(), Private({"TOKEN": "x"}), bundle).files() for _ in range(2))
    assert first == second
    assert sum(map(len, first.values())) < LARGEST_SECRET / 3
    private = from_json(Private, gzip.decompress(first["private.json.gz"]))
    assert private.variables == {"TOKEN": "x"}


def test_secrets_are_in_the_private_file_only(bundle: Path) -> None:
    parcel = Parcel.of(spec(), Private({"TOKEN": "s3cret"}), bundle)
    assert b"s3cret" not in gzip.decompress(parcel.contents["spec.json.gz"])
    assert "s3cret" not in repr(parcel)


def test_a_parcel_that_no_secret_can_hold_is_refused(bundle: Path) -> None:
    noise = "".join(chr(0x4E00 + (number * 7919) % 20000) for number in range(1_000_000))
    parcel = Parcel.of(spec(NOISE=noise), Private(), bundle)
    with pytest.raises(TargetError, match=rf"takes \d+ bytes, and a Secret holds {LARGEST_SECRET}"):
        parcel.files()


def test_a_tar_of_it_is_for_its_owners_eyes_only(bundle: Path) -> None:
    parcel = Parcel.of(spec(), Private(), bundle)
    data = parcel.tar("/mlpipe-parcel", owner=1000, group=50, empty_folders=["/mlpipe"])
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = {member.name: member for member in archive}
    assert list(members)[:2] == ["mlpipe", "mlpipe-parcel"]
    assert {member.mode for member in members.values() if member.isdir()} == {0o700}
    assert {member.mode for member in members.values() if member.isreg()} == {0o600}
    assert {(member.uid, member.gid) for member in members.values()} == {(1000, 50)}


def test_a_root_that_cannot_be_written_is_told_in_the_words_of_the_carrier(
    bundle: Path, tmp_path: Path
) -> None:
    for name, content in Parcel.of(spec(), Private(), bundle).files().items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "file").touch()
    root = str(tmp_path / "file" / "root")
    done = subprocess.run(boot_command(sys.executable, str(tmp_path), root), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (71, "")
    assert isinstance(carrier_failure(done.stdout.splitlines()), TargetError)


def test_the_boot_is_understood_by_any_python_3() -> None:
    *_, code, _, _ = boot_command("python3", "/parcel")
    compile(code, "boot", "exec")
    assert "f'" not in code
    assert 'f"' not in code


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        (["step", "mlpipe-carrier: user: bad link"], UserError),
        (["mlpipe-carrier: target: no driver", ""], TargetError),
        (["mlpipe-carrier: infrastructure: gone"], InfrastructureError),
    ],
)
def test_the_last_line_tells_whose_failure_it_was(lines: list[str], kind: type[StepError]) -> None:
    failure = carrier_failure(lines)
    assert type(failure) is kind
    assert str(failure) == [line for line in lines if line][-1].rpartition(": ")[2]


@pytest.mark.parametrize(
    "lines", [[], ["mlpipe-carrier: user: early", "later"], ["mlpipe-carrier: fetching input raw: 1 GB"]]
)
def test_other_lines_tell_nothing(lines: list[str]) -> None:
    assert carrier_failure(lines) is None
