# SPDX-License-Identifier: GPL-2.0-or-later
"""Both QEMUs are compared before anything is touched: what cannot work is refused by name, and both QEMUs are as before."""

import fcntl
import os
import struct
from pathlib import Path

import pytest
from gclab.gcctl import EXIT_DONE, EXIT_REFUSED, Gcctl, run
from gclab.testbed import Testbed
from gclab.vm import Spec, Vm

SMALL = Spec(ram_mib=64, memory_type="plain")


def ends(testbed: Testbed, source_spec: Spec, destination_spec: Spec) -> tuple[Vm, Vm, Gcctl, int]:
    """Both QEMUs, the gcctl at the destination, and its port."""
    source = testbed.start_source(source_spec)
    destination = testbed.start(destination_spec, "destination", incoming=True)
    receive = testbed.receive(destination.gcctl_qmp(), "127.0.0.1")
    return source, destination, receive, receive.wait_event("listening")["port"]


def differences(gcctl: Gcctl, fatal: bool) -> str:
    return "\n".join(f"{e['what']}: {e['consequence']}" for e in gcctl.events() if e["event"] == "difference" and e["fatal"] == fatal)


FATAL = {
    "memory": (SMALL, SMALL.but(ram_mib=96), "RAM block 'pc.ram', bytes: 67108864 at the source, 100663296 at the destination"),
    "machine": (SMALL, SMALL.but(machine="pc"), "machine type: pc-q35"),
    "cpus": (SMALL.but(cpus=2), SMALL, "vCPUs: 2 at the source, 1 at the destination"),
    "device": (SMALL.but(args=("-device", "virtio-rng-pci")), SMALL, "devices of type virtio-rng-pci: 1 at the source, 0"),
    "slots": (SMALL.but(args=("-m", "64M,slots=2,maxmem=1G")), SMALL, "slots for memory modules (-m slots=): 2 at the source, 0 at"),
    "dimm": (SMALL.but(args=("-m", "64M,slots=2,maxmem=1G", "-object", "memory-backend-ram,id=d,size=32M", "-device", "pc-dimm,memdev=d")),
             SMALL.but(args=("-m", "64M,slots=2,maxmem=1G")), "RAM block 'd' is missing at the destination"),
}


@pytest.mark.parametrize("case", FATAL)
def test_what_the_destination_would_refuse(testbed: Testbed, case: str) -> None:
    source_spec, destination_spec, says = FATAL[case]
    source, destination, receive, port = ends(testbed, source_spec, destination_spec)
    for option in ("--check",), ():
        migrate, report = testbed.migrate_to(source, port, *option)
        assert migrate.wait() == EXIT_REFUSED
        assert says in differences(migrate, True) and says in migrate.errors()
        assert report.exists() == (not option), "--check writes none"
        assert source.status() == "running" and source.migration_status() == "none"
        assert destination.status() == "inmigrate" and receive.process.poll() is None


def test_a_check_touches_nothing(testbed: Testbed) -> None:
    """Afterwards the same QEMUs can be used."""
    source, destination, receive, port = ends(testbed, SMALL, SMALL)
    for _ in range(2):
        check, report = testbed.migrate_to(source, port, "--check")
        assert check.wait() == EXIT_DONE, check.errors()
        assert check.event("checked") and not check.event("difference")
        assert not report.exists()
        assert source.status() == "running" and destination.status() == "inmigrate"
    migrate, _ = testbed.migrate_to(source, port)
    assert migrate.wait() == EXIT_DONE, migrate.errors()
    assert receive.wait() == EXIT_DONE
    destination.wait_running()


def test_another_cpu_model_is_a_warning(testbed: Testbed) -> None:
    """QEMU does not check it, and the guest uses nothing that the other lacks."""
    source, destination, _, port = ends(testbed, SMALL.but(args=("-cpu", "qemu64")), SMALL.but(args=("-cpu", "kvm64")))
    migrate, _ = testbed.migrate_to(source, port)
    assert migrate.wait() == EXIT_DONE, migrate.errors()
    assert "CPU model: qemu64-x86_64-cpu at the source, kvm64-x86_64-cpu at the destination" in differences(migrate, False)
    destination.wait_running()


def test_both_share_their_memory(testbed: Testbed) -> None:
    """The destination would write to the memory from which the source's pages are read."""
    memory = Path("/dev/shm") / testbed.directory.name
    shared = SMALL.but(machine="q35,memory-backend=s", args=("-object", f"memory-backend-file,id=s,size=64M,share=on,mem-path={memory}"))
    source, destination, _, port = ends(testbed, shared, shared)
    memory.unlink()
    migrate, _ = testbed.migrate_to(source, port)
    assert migrate.wait() == EXIT_REFUSED
    assert "RAM block 's': both QEMUs share one file as its memory" in migrate.errors()
    assert source.status() == "running" and destination.status() == "inmigrate"


@pytest.mark.parametrize("device", ["nvme,serial=x", "ivshmem-plain,memdev=i"])
def test_a_device_that_cannot_be_migrated(testbed: Testbed, device: str) -> None:
    """QEMU says so, and nobody is connected to for that."""
    spec = SMALL.but(args=("-object", "memory-backend-ram,id=i,size=1M,share=on", "-device", device))
    source = testbed.start_source(spec)
    migrate, _ = testbed.migrate_to(source, 9)  # nobody listens there
    assert migrate.wait() == EXIT_REFUSED
    assert "the source QEMU cannot migrate this VM: " in migrate.errors() and device.split(",")[0].split("-")[0] in migrate.errors()
    assert source.status() == "running"


def test_a_difference_can_be_allowed(testbed: Testbed) -> None:
    """Then the destination QEMU decides."""
    source, destination, receive, port = ends(testbed, SMALL.but(args=("-device", "virtio-rng-pci")), SMALL)
    migrate, _ = testbed.migrate_to(source, port, "--allow-differences")
    assert migrate.wait() not in (EXIT_DONE, EXIT_REFUSED)
    assert "devices of type virtio-rng-pci" in differences(migrate, True)
    source.wait_running()
    assert receive.wait() != EXIT_DONE
    destination.wait_end()


def test_virtio_mem(testbed: Testbed) -> None:
    """QEMU never sends what is not plugged in, and the ledger would wait for it."""
    spec = SMALL.but(args=("-m", "64M,slots=4,maxmem=1G", "-object", "memory-backend-ram,id=v0,size=16M",
                           "-device", "virtio-mem-pci,memdev=v0,requested-size=0"))
    source = testbed.start_source(spec)
    migrate, _ = testbed.migrate_to(source, 9)  # nobody listens there
    assert migrate.wait() == EXIT_REFUSED
    assert "virtio-mem (memory backend /objects/v0)" in migrate.errors()
    assert source.status() == "running" and source.migration_status() == "none"


def test_memory_that_qemu_does_not_migrate(testbed: Testbed) -> None:
    """The blocks of virtio-pmem, which is a shared disk, and of a backend that no device uses, have no name."""
    directory = testbed.new_directory("pmem")

    def spec(end: str) -> Spec:
        return SMALL.but(args=("-m", "64M,slots=4,maxmem=1G", "-object", "memory-backend-ram,id=unused,size=8M",
                               "-object", f"memory-backend-file,id=nv,size=16M,mem-path={directory}/{end},share=on",
                               "-device", "virtio-pmem-pci,memdev=nv"))

    source, destination, _, port = ends(testbed, spec("source"), spec("destination"))
    migrate, _ = testbed.migrate_to(source, port)
    assert migrate.wait() == EXIT_DONE, migrate.errors()
    destination.wait_running()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_a_user_who_may_not_look_into_qemu(testbed: Testbed) -> None:
    source = testbed.start_source(SMALL)
    testbed.directory.chmod(0o755)
    Path(source.gcctl_qmp()).chmod(0o777)
    user = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
    refused = run("migrate", "--qmp", source.gcctl_qmp(), "--to", "127.0.0.1:9", launcher=user)
    assert refused.returncode == EXIT_REFUSED
    assert "run gcctl as root, or as that process's user" in refused.stderr
    assert source.status() == "running"


def disk(image: Path) -> Spec:
    return SMALL.but(args=("-drive", f"if=none,id=disk,format=raw,file={image}", "-device", "virtio-blk-pci,drive=disk"))


def image(directory: Path, size: int = 1 << 20) -> Path:
    directory.mkdir(exist_ok=True)
    path = directory / "image"
    with path.open("wb") as file:
        file.truncate(size)
    return path


def expect_refused(testbed: Testbed, source: Vm, destination: Vm, port: int, says: str) -> None:
    """By a check and by a migration; neither QEMU has changed."""
    for option in ("--check",), ():
        migrate, _ = testbed.migrate_to(source, port, *option)
        assert migrate.wait() == EXIT_REFUSED
        assert says in differences(migrate, True) and says in migrate.errors()
        assert source.status() == "running" and destination.status() == "inmigrate"


def test_a_disk_that_is_not_shared(testbed: Testbed) -> None:
    """The guest would go on with other data."""
    there = image(testbed.directory / "there")
    source, destination, _, port = ends(testbed, disk(image(testbed.directory / "here")), disk(there))
    expect_refused(testbed, source, destination, port, f"disk 'disk': it is another file ({testbed.directory}/here/image at the source, {there}")


def test_a_smaller_disk(testbed: Testbed) -> None:
    here, there = image(testbed.directory / "here"), image(testbed.directory / "there", 4096)
    source, destination, _, port = ends(testbed, disk(here), disk(there))
    expect_refused(testbed, source, destination, port, "disk 'disk', bytes: 1048576 at the source, 4096 at the destination")


def test_a_disk_that_a_third_has_locked(testbed: Testbed) -> None:
    """The destination QEMU would be refused the image only once the VM was handed over."""
    shared = image(testbed.directory / "shared")
    source, destination, receive, port = ends(testbed, disk(shared), disk(shared))
    with shared.open("rb") as file:
        # As a QEMU that allows nobody else to write.
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, 201, 1, 0))
        expect_refused(testbed, source, destination, port, f"another process on the destination's host has locked {shared}")
    migrate, _ = testbed.migrate_to(source, port)
    assert migrate.wait() == EXIT_DONE, migrate.errors()
    assert not migrate.event("difference")
    assert receive.wait() == EXIT_DONE
    destination.wait_running()


def test_a_destination_that_expects_tls(testbed: Testbed) -> None:
    source, destination, _, port = ends(testbed, SMALL, SMALL)
    destination.command("migrate-set-parameters", tls_creds="tls0")
    expect_refused(testbed, source, destination, port, "the destination QEMU has the migration parameter tls-creds set")


def test_a_destination_that_expects_another_stream(testbed: Testbed) -> None:
    """Found before any source comes."""
    destination = testbed.start(SMALL, "destination", incoming=True)
    destination.set_capabilities(["multifd"])
    refused = run("receive", "--qmp", destination.gcctl_qmp(), "--listen", "127.0.0.1:0", "--wait", "1ms")
    assert refused.returncode == EXIT_REFUSED
    assert "the destination QEMU has the migration capability multifd on" in refused.stderr
    assert "migrate_set_capability multifd off" in refused.stderr


def test_features_that_the_destination_lacks(testbed: Testbed) -> None:
    source, _, _, port = ends(testbed, SMALL.but(args=("-cpu", "qemu64,+avx2")), SMALL.but(args=("-cpu", "qemu64")))
    check, _ = testbed.migrate_to(source, port, "--check")
    assert check.wait() == EXIT_DONE, check.errors()
    assert "CPU features that the destination lacks: avx2: QEMU does not check them" in differences(check, False)
