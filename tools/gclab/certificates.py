# SPDX-License-Identifier: GPL-2.0-or-later
"""Certificates for two hosts, made by certtool as docs/operations/tls.md says."""

from pathlib import Path

from .network import run

CA = """cn = "guidecopy test CA"
ca
cert_signing_key
expiration_days = 10
"""
HOST = """organization = "Example"
cn = "{name}"
dns_name = "{name}"
ip_address = "{address}"
tls_www_server
tls_www_client
encryption_key
signing_key
{validity}
"""


class Authority:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._key, self.certificate = directory / "ca-key.pem", directory / "ca-cert.pem"
        self._make_key(self._key)
        template = directory / "ca.info"
        template.write_text(CA)
        run("certtool", "--generate-self-signed", "--load-privkey", str(self._key), "--template", str(template), "--outfile",
            str(self.certificate))

    @staticmethod
    def _make_key(path: Path) -> None:
        run("certtool", "--generate-privkey", "--key-type", "ecdsa", "--outfile", str(path))

    def issue(self, name: str, address: str = "127.0.0.1", expired: bool = False) -> Path:
        """A directory as --tls-creds takes it, with one certificate for both roles."""
        directory = self.directory / name
        directory.mkdir()
        key, certificate, template = (directory / file for file in ("server-key.pem", "server-cert.pem", "host.info"))
        self._make_key(key)
        validity = ('activation_date = "2020-01-01 00:00:00"\nexpiration_date = "2020-02-01 00:00:00"' if expired
                    else "expiration_days = 10")
        template.write_text(HOST.format(name=name, address=address, validity=validity))
        run("certtool", "--generate-certificate", "--load-privkey", str(key), "--load-ca-certificate", str(self.certificate),
            "--load-ca-privkey", str(self._key), "--template", str(template), "--outfile", str(certificate))
        (directory / "client-key.pem").symlink_to(key)
        (directory / "client-cert.pem").symlink_to(certificate)
        (directory / "ca-cert.pem").symlink_to(self.certificate)
        return directory
