# SPDX-License-Identifier: GPL-2.0-or-later
"""A source QEMU that SELinux confines, as libvirt's sVirt has it. In a lab whose kernel runs SELinux, with a policy of the
tests' own, which is enforced."""

import os
import subprocess
from pathlib import Path

import pytest
from conftest import SELINUX
from gclab.testbed import Testbed
from gclab.vm import Spec
from held import check_guide_ends_with_its_gcctl, finish, start_held

pytestmark = pytest.mark.selinux

POLICY = Path(__file__).parent / "selinux" / "policy.cil"
VM = "system_u:system_r:vm_t:s0:c1,c2"
CLERK = "system_u:system_r:clerk_t:s0"


def launcher(label: str) -> tuple[str, ...]:
    """Runs a program with that label. runcon(1) wants a policy of the distribution's."""
    return ("sh", "-c", f'printf %s "{label}" >/proc/self/attr/exec && exec "$@"', "sh")


def label_of(pid: int) -> str:
    return Path(f"/proc/{pid}/attr/current").read_text().rstrip("\n\0")


@pytest.fixture(scope="module", autouse=True)
def enforced(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The kernel takes no policy back: it stays until the lab ends."""
    if not os.path.ismount(SELINUX):
        subprocess.run(["mount", "-t", "selinuxfs", "none", SELINUX], check=True, timeout=10)
    compiled = tmp_path_factory.mktemp("policy") / "policy"
    # 33 is the newest version that Linux 6.1 reads.
    subprocess.run(["secilc", "--policyvers=33", f"--output={compiled}", "--filecontext=/dev/null", POLICY], check=True, timeout=60)
    (SELINUX / "load").write_bytes(compiled.read_bytes())
    (SELINUX / "enforce").write_text("1")


def test_guide_has_its_sources_label(testbed: Testbed) -> None:
    spec = Spec()
    migration, guide = start_held(testbed, spec, launcher(VM))
    assert [label_of(pid) for pid in (migration.source.process.pid, guide)] == [VM, VM]
    status = Path(f"/proc/{guide}/status").read_text()
    assert "\nNoNewPrivs:\t1\n" in status and "\nCapBnd:\t0000000000000000\n" in status, status
    assert finish(migration, spec)["guide"]["ended"] == "complete"


def test_guide_ends_with_a_killed_gcctl(testbed: Testbed) -> None:
    check_guide_ends_with_its_gcctl(testbed, launcher(VM))


def test_guide_that_may_not_have_the_label_is_refused(testbed: Testbed) -> None:
    """A gcctl that the policy does not let run programs as the VM's QEMU."""
    spec = Spec()
    source = testbed.start_source(spec.but(launcher=launcher(VM)))
    migration = testbed.migrate(source, spec, guide="on", launcher=launcher(CLERK))
    report = migration.wait_completed(spec)
    migration.destination.wait_running()
    assert report["guide"]["ended"] == "refused"
    assert VM in report["guide"]["reason"], report["guide"]
