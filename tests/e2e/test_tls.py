# SPDX-License-Identifier: GPL-2.0-or-later
"""TLS between the two gcctls: nobody reads the VM, and nobody without credentials gets in."""

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from gclab.certificates import Authority
from gclab.environment import SLOW
from gclab.gcctl import EXIT_REFUSED, EXIT_USAGE, run
from gclab.proxy import Proxy
from gclab.rogue import Impostor
from gclab.testbed import Migration, Testbed
from gclab.vm import Spec, Vm
from gclab.wait import wait_for

SMALL = Spec()
# The head of every QEMU stream with its version, its configuration, and the hello of the two gcctls. Each is long: four
# bytes stand somewhere in one of 250 ciphertexts of 16 MiB by chance, six in one of ten million.
QEMU_HEAD = b"QEVM" + bytes([0, 0, 0, 3])
IN_CLEAR = (QEMU_HEAD, b"pc-q35", b'"guidecopy"')


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def hosts(authority: Authority) -> tuple[Path, Path]:
    return authority.issue("source.example"), authority.issue("destination.example")


class Destination:
    """A QEMU and a gcctl that wait for a VM."""

    def __init__(self, testbed: Testbed, *options: str) -> None:
        self.vm = testbed.start(SMALL, "destination", incoming=True)
        self.receive = testbed.receive(self.vm.gcctl_qmp(), "127.0.0.1", *options)
        self.port: int = self.receive.wait_event("listening")["port"]

    def check_untouched(self) -> None:
        assert self.receive.process.poll() is None, "it still waits"
        assert self.vm.status() == "inmigrate"


def check_moves(testbed: Testbed, source: Vm, destination: Destination, *options: str, port: int | None = None) -> Migration:
    gcctl, report = testbed.migrate_to(source, port or destination.port, *options)
    migration = Migration(source, destination.vm, destination.receive, gcctl, report)
    migration.wait_completed(SMALL)
    destination.vm.wait_running()
    source.check()
    return migration


@pytest.fixture
def wiretaps() -> Iterator[list[Impostor]]:
    made: list[Impostor] = []
    yield made
    for wiretap in made:
        wiretap.close()


def carried(wiretap: Impostor) -> bytes:
    return b"".join(wiretap.seen.values())


def test_nobody_reads_the_vm(testbed: Testbed, hosts: tuple[Path, Path], wiretaps: list[Impostor]) -> None:
    destination = Destination(testbed, "--tls-creds", str(hosts[1]))
    wiretaps.append(Impostor(destination.port, lambda who, line: None, in_clear=False))
    migration = check_moves(testbed, testbed.start_source(SMALL), destination, "--tls-creds", str(hosts[0]),
                            port=wiretaps[0].port)
    text = carried(wiretaps[0])
    assert len(text) > 1 << 20
    assert [word for word in IN_CLEAR if word in text] == []
    security = migration.report()["security"]
    assert security["protection"] == "tls"
    assert "CN=destination.example" in security["peer"]
    assert "TLS 1.3" in security["cipher"]


def test_insecure_is_read_and_says_so(testbed: Testbed, wiretaps: list[Impostor]) -> None:
    """The wiretap works; and --insecure is in each event and in the report."""
    destination = Destination(testbed, "--insecure")
    wiretaps.append(Impostor(destination.port, lambda who, line: None))
    migration = check_moves(testbed, testbed.start_source(SMALL), destination, "--insecure", port=wiretaps[0].port)
    assert QEMU_HEAD in carried(wiretaps[0]) and b"pc-q35" in carried(wiretaps[0])
    assert migration.report()["security"]["protection"] == "insecure"
    for gcctl in (migration.migrate, migration.receive):
        assert gcctl.events() and all(event["insecure"] is True for event in gcctl.events())


def write_psk(directory: Path, name: str, key: str) -> str:
    path = directory / name
    path.touch(mode=0o600)
    path.write_text(f"qemu:{key}\n")
    return str(path)


def test_pre_shared_keys(testbed: Testbed) -> None:
    keys = write_psk(testbed.directory, "keys.psk", "5a" * 32)
    destination = Destination(testbed, "--tls-psk", keys)
    migration = check_moves(testbed, testbed.start_source(SMALL), destination, "--tls-psk", keys)
    assert migration.report()["security"]["protection"] == "tls"


@pytest.mark.parametrize("what", ["reset", "flip"])
def test_channels_are_secured_again(testbed: Testbed, hosts: tuple[Path, Path], what: str) -> None:
    """Connections that break, or whose bytes are changed: TLS finds the change, and the bytes are sent again."""
    source = testbed.start_source(SMALL)
    destination = Destination(testbed, "--tls-creds", str(hosts[1]))
    proxy = Proxy(destination.port)
    try:
        gcctl, report = testbed.migrate_to(source, proxy.port, "--tls-creds", str(hosts[0]), "--bandwidth", "16M")
        migration = Migration(source, destination.vm, destination.receive, gcctl, report)
        gcctl.wait_event("resumed")
        if what == "reset":
            proxy.reset()
        else:
            proxy.flip(after=100_000)
        migration.wait_completed(SMALL)
        destination.vm.wait_running(passes=2)
        assert migration.report()["connection_losses"] >= 1
        assert "rejected" not in destination.receive.errors()
    finally:
        proxy.cut()


def check_refused(testbed: Testbed, source: Vm, destination: Destination, *options: str, says: str) -> None:
    gcctl, _ = testbed.migrate_to(source, destination.port, *options)
    assert gcctl.wait() == EXIT_REFUSED, gcctl.errors()
    assert says in gcctl.errors()
    assert source.status() == "running"
    destination.check_untouched()


def test_strangers_get_nothing(testbed: Testbed, authority: Authority, hosts: tuple[Path, Path], tmp_path: Path) -> None:
    """No certificate, one of another CA, a pre-shared key: refused, and the destination takes the right one afterwards."""
    other = Authority(tmp_path).issue("stranger.example")
    destination = Destination(testbed, "--tls-creds", str(hosts[1]))
    source = testbed.start_source(SMALL)
    check_refused(testbed, source, destination, says="TLS")
    check_refused(testbed, source, destination, "--insecure", says="TLS")
    check_refused(testbed, source, destination, "--tls-creds", str(other), says="ca-cert.pem")
    check_refused(testbed, source, destination, "--tls-psk", write_psk(tmp_path, "keys.psk", "5a" * 32), says="")
    # The other CA's certificate, with the right CA to verify the destination: only the destination can refuse it.
    (other / "ca-cert.pem").unlink()
    (other / "ca-cert.pem").symlink_to(authority.certificate)
    check_refused(testbed, source, destination, "--tls-creds", str(other), says="")
    check_moves(testbed, source, destination, "--tls-creds", str(hosts[0]))
    assert destination.receive.errors().count("was rejected") >= 4


def test_expired_certificate(testbed: Testbed, authority: Authority, hosts: tuple[Path, Path]) -> None:
    expired = authority.issue("expired.example", expired=True)
    destination = Destination(testbed, "--tls-creds", str(hosts[1]))
    check_refused(testbed, testbed.start_source(SMALL), destination, "--tls-creds", str(expired), says="expired")


def test_wrong_host_name(testbed: Testbed, authority: Authority, hosts: tuple[Path, Path]) -> None:
    elsewhere = authority.issue("elsewhere.example", address="192.0.2.1")
    destination = Destination(testbed, "--tls-creds", str(elsewhere))
    source = testbed.start_source(SMALL)
    check_refused(testbed, source, destination, "--tls-creds", str(hosts[0]), says="127.0.0.1")
    check_moves(testbed, source, destination, "--tls-creds", str(hosts[0]), "--tls-hostname", "elsewhere.example")


def test_authz(testbed: Testbed, hosts: tuple[Path, Path]) -> None:
    destination = Destination(testbed, "--tls-creds", str(hosts[1]), "--tls-authz", "*CN=source.*")
    source = testbed.start_source(SMALL)
    check_refused(testbed, source, destination, "--tls-creds", str(hosts[1]), says="")
    check_moves(testbed, source, destination, "--tls-creds", str(hosts[0]))


def test_wrong_pre_shared_key(testbed: Testbed) -> None:
    destination = Destination(testbed, "--tls-psk", write_psk(testbed.directory, "right.psk", "5a" * 32))
    wrong = write_psk(testbed.directory, "wrong.psk", "a5" * 32)
    check_refused(testbed, testbed.start_source(SMALL), destination, "--tls-psk", wrong, says="")


def test_tls_on_one_end_only(testbed: Testbed, hosts: tuple[Path, Path]) -> None:
    destination = Destination(testbed, "--insecure")
    check_refused(testbed, testbed.start_source(SMALL), destination, "--tls-creds", str(hosts[0]), says="TLS")
    assert "TLS" in destination.receive.errors()


def test_a_replayed_session(testbed: Testbed, hosts: tuple[Path, Path], wiretaps: list[Impostor]) -> None:
    destination = Destination(testbed, "--tls-creds", str(hosts[1]))
    wiretaps.append(Impostor(destination.port, lambda who, line: None, in_clear=False))
    check_moves(testbed, testbed.start_source(SMALL), destination, "--tls-creds", str(hosts[0]), port=wiretaps[0].port)
    again = Destination(testbed, "--tls-creds", str(hosts[1]))
    for said in wiretaps[0].seen.values():
        with socket.create_connection(("127.0.0.1", again.port), timeout=10) as connection:
            try:
                connection.sendall(said[:1 << 20])
                while connection.recv(65536):
                    pass
            except OSError:
                pass  # it was refused
    again.check_untouched()
    wait_for("the replays are rejected", lambda: again.receive.errors().count("was rejected") == len(wiretaps[0].seen), 10 * SLOW)


def test_strangers_beside_tls(testbed: Testbed, hosts: tuple[Path, Path]) -> None:
    """Silent ones, HTTP, and TLS without a certificate hold up nobody."""
    destination = Destination(testbed, "--tls-creds", str(hosts[1]))
    silent = [socket.create_connection(("127.0.0.1", destination.port), timeout=10) for _ in range(50)]
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for _ in range(25):
        with socket.create_connection(("127.0.0.1", destination.port), timeout=10) as http:
            http.sendall(b"GET / HTTP/1.0\r\n\r\n")
        try:
            with socket.create_connection(("127.0.0.1", destination.port), timeout=10) as plain, context.wrap_socket(plain) as wrapped:
                wrapped.recv(1)
        except OSError:
            pass  # it was refused
    check_moves(testbed, testbed.start_source(SMALL), destination, "--tls-creds", str(hosts[0]))
    for each in silent:
        each.close()


@pytest.mark.parametrize("address", ["0.0.0.0", "[::]", "192.0.2.1"])
def test_no_clear_text_off_the_loopback(testbed: Testbed, address: str) -> None:
    vm = testbed.start(SMALL, "destination", incoming=True)
    receive = run("receive", "--qmp", vm.gcctl_qmp(), "--listen", f"{address}:0")
    assert receive.returncode == EXIT_REFUSED
    assert "--insecure" in receive.stderr and "--tls-creds" in receive.stderr
    migrate = run("migrate", "--qmp", vm.gcctl_qmp(), "--to", f"{address}:1", "--policy", "none")
    assert migrate.returncode == EXIT_REFUSED


def test_options_that_exclude_each_other() -> None:
    for options in (("--insecure", "--tls-creds", "/d"), ("--tls-psk", "f", "--tls-creds", "/d")):
        assert run("receive", "--qmp", "/q", "--listen", "127.0.0.1:0", *options).returncode == EXIT_USAGE
        assert run("migrate", "--qmp", "/q", "--to", "127.0.0.1:1", *options).returncode == EXIT_USAGE
    assert run("migrate", "--qmp", "/q", "--to", "ssh://h/q", "--insecure").returncode == EXIT_USAGE
    assert run("receive", "--qmp", "/q", "--psk-stdin", "--insecure").returncode == EXIT_USAGE
