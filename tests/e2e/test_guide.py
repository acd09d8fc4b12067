# SPDX-License-Identifier: GPL-2.0-or-later
"""The guide saves demand faults, and the migration completes when the guide is lost."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gclab import apparmor
from gclab.testbed import Migration, Testbed
from gclab.environment import CAPTURE, IN_LAB, SLOW
from gclab.gcctl import page_classes
from gclab.vm import MIB, PAGE_SIZE, WORK_MIB, Spec
from gclab.wait import wait_for
from held import HOLD, check_guide_ends_with_its_gcctl, finish, start_held

CHASE_MIB = 8 if IN_LAB else 64  # where a page that the VM has to wait for takes some 10 ms, and less than 0.1 ms
CHASE_PAGES = CHASE_MIB * MIB // PAGE_SIZE


def migrate_chase(testbed: Testbed, guide: str) -> dict[str, Any]:
    """Measures a migration of the pointer chase. Until the chase has done a lap, only requested pages and the guide's
    are sent: neighbours of a requested page would all belong to the chase, too."""
    spec = Spec(ram_mib=3 * CHASE_MIB + 40, append=f"mode=chase size={CHASE_MIB}M")
    # On a host of its own the destination would not take CPU time from the guide. Here they may share one CPU
    # (scripts/lab --help says when), and a task that wakes up for a page runs first.
    migration = testbed.migrate(testbed.start_source(spec), spec.but(nice=5), *HOLD, "--next-pages", "0", guide=guide,
                              receive_options=("--measure",) if IN_LAB else ())
    if not IN_LAB:
        migration.destination.make_vcpus_nice()  # besides, other work of the host takes time from the guide
    migration.migrate.wait_event("resumed")
    # The current lap, and then a full one.
    migration.destination.wait_running(passes=2, timeout=60)
    migration.migrate.signal(signal.SIGUSR1)
    report = migration.wait_completed(spec)
    migration.destination.check()
    if IN_LAB:  # only VMs of KVM can be tracked
        check_measured(report)
    return report


def check_measured(report: dict[str, Any]) -> None:
    measured = report["measured"]
    assert measured is not None
    touched = measured["touched"]
    assert sum(touched[name] for name in page_classes(report)) == touched["total"]
    # Each page of the chase, and a few of the guest's program and stacks.
    assert CHASE_PAGES <= touched["total"] <= CHASE_PAGES + 1024, measured
    assert touched["urgent"] <= measured["asked"] <= report["demand"]["faults"]
    assert measured["unresolved"] == 0


@pytest.mark.both
@pytest.mark.long
def test_guide_saves_nine_of_ten_demand_faults(testbed: Testbed) -> None:
    without = migrate_chase(testbed, "off")
    guided = migrate_chase(testbed, "on")
    faults = without["demand"]["faults"], guided["demand"]["faults"]
    print(f"demand faults: {faults[0]} without a guide, {faults[1]} with one; measured: {without['measured']}, {guided['measured']}")
    assert faults[0] >= CHASE_PAGES, "each page is requested"
    # Natively the guide shares its CPUs with whatever else the host does. Once it is behind the VM, it catches up slowly.
    assert faults[1] <= (0.1 if IN_LAB else 0.5) * faults[0]
    assert guided["capture"] == CAPTURE and guided["guide"]["records"] >= (0.9 if IN_LAB else 0.5) * CHASE_PAGES
    if not IN_LAB:
        return
    # The measurement tells the two apart.
    assert without["measured"]["coverage"] <= 0.1 and without["measured"]["accuracy"] is None
    assert guided["measured"]["coverage"] >= 0.9 and guided["measured"]["accuracy"] >= 0.9
    wasted = guided["pages"]["guide"] - guided["measured"]["touched"]["guide"]
    assert guided["measured"]["waste_bytes"] <= 4096 * wasted


@pytest.mark.both
def test_guide_killed(testbed: Testbed) -> None:
    spec = Spec()
    migration, pid = start_held(testbed, spec)
    os.kill(pid, signal.SIGKILL)
    migration.migrate.wait_event("guide-ended")
    report = finish(migration, spec)
    assert report["guide"]["started"]
    assert report["guide"]["ended"] == "died"
    assert report["guide"]["reason"]


def test_guide_frozen(testbed: Testbed) -> None:
    spec = Spec()
    migration, pid = start_held(testbed, spec)
    os.kill(pid, signal.SIGSTOP)
    report = finish(migration, spec)
    assert report["guide"]["started"]
    assert report["guide"]["ended"] in ("complete", "diverged"), report["guide"]
    wait_for("the frozen guide is gone", lambda: not os.path.exists(f"/proc/{pid}"), 5 * SLOW)


@pytest.mark.long
def test_guide_that_goes_another_way(testbed: Testbed) -> None:
    spec = Spec(ram_mib=192, append="mode=apart size=128M")
    # Pages that the VM requests are not paced: it is never slower than its guide, which few pages of 32,768 match.
    migration = testbed.migrate(testbed.start_source(spec), spec, *HOLD, "--next-pages", "0", "--lead", "64", "--bandwidth", "1M",
                                guide="on")
    ended = migration.migrate.wait_event("guide-ended", 60)
    assert ended["how"] == "diverged"
    report = finish(migration, spec)
    assert report["guide"]["ended"] == "diverged"
    assert report["pages"]["guide"] >= 512 and report["demand"]["faults"] >= 512
    migration.destination.check()


def start_frozen(testbed: Testbed, spec: Spec, *options: str) -> tuple[Migration, int]:
    """A migration whose guide cannot load, and the guide's pid. Pre-copy gives the time to freeze it."""
    migration = testbed.migrate(testbed.start_source(spec), spec, *HOLD, "--precopy-time", "3s", "--bandwidth", "4M", *options,
                                guide="on")
    pid = migration.migrate.wait_event("guide-started")["pid"]
    os.kill(pid, signal.SIGSTOP)
    migration.migrate.wait_event("switch-over")
    return migration, pid


@pytest.mark.long
def test_vm_waits_for_its_guide(testbed: Testbed) -> None:
    spec = Spec()
    # gcctl gives up a guide that takes longer than 10 s to load.
    migration, pid = start_frozen(testbed, spec, "--guide-wait", "60s")
    time.sleep(3)
    assert migration.migrate.event("commit") is None
    os.kill(pid, signal.SIGCONT)
    report = finish(migration, spec)
    names = [event["event"] for event in migration.migrate.events()]
    assert names.index("guide-runs") < names.index("commit")
    assert report["guide"]["waited_ms"] > 0


@pytest.mark.long
def test_vm_does_not_wait_long_for_its_guide(testbed: Testbed) -> None:
    spec = Spec()
    migration, pid = start_frozen(testbed, spec, "--guide-wait", "200ms")
    migration.migrate.wait_event("resumed")
    assert migration.migrate.event("guide-runs") is None
    os.kill(pid, signal.SIGCONT)
    migration.migrate.wait_event("guide-runs")
    report = finish(migration, spec)
    assert report["guide"]["waited_ms"] >= 200


@pytest.mark.both
def test_guide_that_takes_too_much_memory(testbed: Testbed) -> None:
    # With a QEMU's own memory the guide copies each page that it touches.
    limit_mib = 8 if IN_LAB else 16
    spec = Spec(memory_type="plain", append=f"mode=check size={limit_mib + 8}M")
    migration = testbed.migrate(testbed.start_source(spec), spec, *HOLD, "--guide-memory", f"{limit_mib}M", guide="on")
    migration.migrate.wait_event("guide-ended")
    report = finish(migration, spec)
    assert report["guide"]["started"]
    assert report["guide"]["ended"] == "memory-limit", report["guide"]
    assert report["guide"]["memory_bytes"] > limit_mib * MIB
    assert "--guide-memory" in report["guide"]["reason"]


@pytest.mark.lab
@pytest.mark.usefixtures("without_module")
def test_module_absent(testbed: Testbed) -> None:
    check_guide_without_module(testbed, Spec())


def test_no_module_here(testbed: Testbed) -> None:
    spec = Spec()
    check_guide_without_module(testbed, spec)
    report = testbed.migrate_completely(testbed.start_source(spec), spec, "--capture", "kmod", guide="on")
    assert report["mode"] == "postcopy"
    assert report["capture"] == "none" and report["capture_reason"] == ""
    assert not report["guide"]["started"]
    assert report["guide"]["ended"] == "refused"
    assert "guidecopy" in report["guide"]["reason"]


def check_guide_without_module(testbed: Testbed, spec: Spec) -> None:
    migration = testbed.migrate(testbed.start_source(spec), spec, guide="on")
    report = migration.wait_completed(spec)
    assert report["mode"] == "guide" and report["guide"]["ended"] == "complete", report["guide"]
    assert report["capture"] == "userfault"
    assert "/dev/guidecopy" in report["capture_reason"]
    started = migration.migrate.wait_event("guide-started")
    assert (started["capture"], started["why"]) == ("userfault", report["capture_reason"])


# With "null" the guide's process enters a mount namespace, which the kernel refuses to ThreadSanitizer's second thread.
@pytest.mark.parametrize("instead", ["socket", pytest.param("null", marks=pytest.mark.long)])
def test_neither_module_nor_userfaultfd(testbed: Testbed, instead: str) -> None:
    """gcctl cannot open the device, or the guide cannot use it."""
    if Path("/proc/sys/vm/unprivileged_userfaultfd").read_text() == "1\n":
        pytest.skip("vm.unprivileged_userfaultfd is 1, so nobody needs the device")
    spec = Spec()
    source = testbed.start_source(spec)
    file = source.gcctl_qmp() if instead == "socket" else "/dev/null"
    hidden = ("unshare", "--mount", "sh", "-c", f'mount --bind {file} /dev/userfaultfd && exec "$@"', "sh")
    report = testbed.migrate(source, spec, guide="on", launcher=hidden).wait_completed(spec)
    assert report["mode"] == "postcopy" and report["capture"] == "none"
    assert report["guide"]["ended"] == "refused"
    words = ("/dev/guidecopy", "/dev/userfaultfd") if instead == "socket" else ("the guide QEMU cannot migrate", "postcopy")
    for word in words:
        assert word in report["guide"]["reason"].lower() or word in report["guide"]["reason"], report["guide"]


@pytest.mark.both
def test_userfaultfd_is_chosen(testbed: Testbed) -> None:
    """Whether the module is there or not. Each page that the guest writes is missing once."""
    spec = Spec(cpus=2, backends=2, append=f"mode=check size={WORK_MIB}M spread=1")
    report = testbed.migrate_completely(testbed.start_source(spec), spec, "--capture", "userfault", guide="on")
    assert report["capture"] == "userfault" and report["capture_reason"] == "--capture userfault"
    assert report["guide"]["ended"] == "complete", report["guide"]
    assert report["pages"]["guide"] == report["guide"]["pushed"] <= report["guide"]["records"]


@pytest.mark.both
@pytest.mark.long
def test_lead_is_kept(testbed: Testbed) -> None:
    """A guide whose pages cannot be sent waits for them."""
    spec = Spec(ram_mib=192, append=f"mode=chase size={CHASE_MIB}M")
    migration = testbed.migrate(testbed.start_source(spec), spec, *HOLD, "--lead", "256", "--bandwidth", "1M", guide="on")
    migration.migrate.wait_event("guide-runs")
    migration.migrate.wait_event("resumed")
    time.sleep(2)
    report = finish(migration, spec)
    guide = report["guide"]
    assert guide["blocked_ms"] > 0, guide
    assert guide["records"] <= guide["pushed"] + 256 + report["pages"]["urgent"], guide


def rights(pid: int) -> dict[str, Any]:
    """What a process may do, and where it is."""
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    return {"capabilities": {name: status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")},
            "user": [status[name] for name in ("Uid", "Gid", "Groups")],
            "no_new_privs": status["NoNewPrivs"], "seccomp": status["Seccomp"],
            "namespaces": [os.readlink(f"/proc/{pid}/ns/{name}") for name in ("user", "mnt", "pid", "ipc", "uts", "cgroup")]}


@pytest.mark.both
def test_guide_has_no_more_rights_than_its_source(testbed: Testbed) -> None:
    spec = Spec()
    # No mount namespace: the lab's root is a chroot, so the program would have another name there.
    confined = spec.but(launcher=("unshare", "--ipc", "--uts", "setpriv", "--inh-caps", "-all", "--bounding-set", "-all"))
    source = testbed.start_source(confined)
    migration = testbed.migrate(source, spec, *HOLD, guide="on")
    wait_for("the guide is started, or refused",
             lambda: migration.migrate.event("guide-started") or migration.migrate.event("guide-refused"), 30 * SLOW)
    assert migration.migrate.event("guide-refused") is None
    guide = rights(migration.migrate.wait_event("guide-started")["pid"])
    of_source = rights(source.process.pid)
    migration.migrate.wait_event("guide-runs")
    report = finish(migration, spec)
    assert report["guide"]["ended"] == "complete", report["guide"]
    assert guide["namespaces"] == of_source["namespaces"]
    assert guide["namespaces"][3] != os.readlink("/proc/self/ns/ipc")
    assert set(guide["capabilities"].values()) == {"0" * 16}
    assert guide["user"] == of_source["user"]
    assert guide["no_new_privs"] == "1"
    assert guide["seccomp"] == "2", "QEMU's own filter"


# Allows all that a QEMU does here: it is the label that counts.
PROFILE = """
profile guidecopy-test flags=(attach_disconnected, mediate_deleted) {
  capability, network, file, unix, ptrace, signal, mount,
}
"""


@pytest.fixture
def apparmor_profile(tmp_path: Path) -> Iterator[str]:
    if reason := apparmor.missing():
        pytest.skip(reason)
    file = tmp_path / "profile"
    file.write_text(PROFILE)
    apparmor.replace(str(file))
    yield "guidecopy-test"
    apparmor.remove(str(file))


@pytest.mark.lab
def test_guide_with_an_apparmor_label_ends_with_a_killed_gcctl(testbed: Testbed, apparmor_profile: str) -> None:
    check_guide_ends_with_its_gcctl(testbed, apparmor.under(apparmor_profile))


def test_guide_that_does_not_start_says_why(testbed: Testbed) -> None:
    """QEMU's own words reach the user."""
    gone, there = testbed.directory / "gone", testbed.directory / "there"
    for file in (gone, there):
        file.write_bytes(b"x")
    spec = Spec()
    source = testbed.start_source(spec.but(args=("-fw_cfg", f"name=opt/x,file={gone}")))
    gone.unlink()
    migration = testbed.migrate(source, spec.but(args=("-fw_cfg", f"name=opt/x,file={there}")), guide="on")
    report = migration.wait_completed(spec)
    assert report["guide"]["ended"] == "refused"
    assert str(gone) in report["guide"]["reason"], report["guide"]
    assert str(gone) in migration.migrate.wait_event("guide-refused")["reason"]
