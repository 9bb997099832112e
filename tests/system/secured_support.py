"""A secured installation: Kafka with SASL_SSL and rules for each principal, ClickHouse behind a TLS proxy.

Certificates come from an authority that is made here. The plain listener of the embedded Kafka stays for its readiness
and for who makes logins and rules; nobody else is given its address.
"""

from __future__ import annotations

import datetime
import ipaddress
import secrets
import socket
import ssl
import threading
from pathlib import Path

from confluent_kafka.admin import AdminClient, ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from infra.access.kafka import OPERATOR, PRINCIPALS

CHUNK = 1 << 16
_LISTENERS = """\
listeners=PLAINTEXT://{{host}}:{{port}},SECURE://{{host}}:{secure_port},CONTROLLER://{{host}}:{{controller_port}}
advertised.listeners=PLAINTEXT://{{host}}:{{port}},SECURE://{{host}}:{secure_port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL,CONTROLLER:PLAINTEXT
listener.name.secure.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.secure.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.secure.ssl.keystore.type=PEM
listener.name.secure.ssl.keystore.location={keystore}
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
allow.everyone.if.no.acl.found=false
"""


class Certificates:
    """An authority and one certificate for 127.0.0.1, as PEM files in a folder."""

    def __init__(self, folder: Path) -> None:
        self.ca_file = folder / "ca.pem"
        self.server_file = folder / "server.pem"
        ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority of a test")])
        ca = _builder(ca_name, ca_name, ca_key).add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        identifier = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
        ca = ca.add_extension(identifier, False).add_extension(_usage(signs=True), True)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
        host = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        server = _builder(name, ca_name, key).add_extension(host, False).add_extension(_usage(signs=False), True)
        server = server.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), False)
        self.ca_file.write_bytes(ca.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        signed = server.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        self.server_file.write_bytes(private + signed)
        self.server_file.chmod(0o600)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, key_cert_sign=signs, crl_sign=signs, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _builder(name: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )


def listeners(secure_port: int, certificates: Certificates) -> str:
    """Lines for the embedded Kafka's settings; of two equal names the later one counts."""
    return _LISTENERS.format(secure_port=secure_port, keystore=certificates.server_file)


def make_logins(plain_bootstrap: str, folder: Path) -> None:
    """A password for every principal, in a file `kafka.NAME`, known to Kafka as SCRAM."""
    logins = []
    for name in (*(principal.name for principal in PRINCIPALS), OPERATOR):
        password = secrets.token_urlsafe(18)
        path = folder / f"kafka.{name}"
        path.write_text(password + "\n")
        path.chmod(0o600)
        how = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        logins.append(UserScramCredentialUpsertion(name, how, password.encode()))
    admin = AdminClient({"bootstrap.servers": plain_bootstrap})
    for future in admin.alter_user_scram_credentials(logins).values():
        future.result(15)


class TlsProxy:
    """Ends TLS before a plain server on loopback; counts connections."""

    def __init__(self, certificates: Certificates, target: tuple[str, int]) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificates.server_file)
        self._target = target
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._link, args=(plain,), daemon=True).start()

    def _link(self, accepted: socket.socket) -> None:
        try:
            client = self._context.wrap_socket(accepted, server_side=True)
        except OSError:  # whoever does not trust us, or does not speak TLS
            accepted.close()
            return
        self.connections += 1
        server = socket.create_connection(self._target)
        other = threading.Thread(target=_copy, args=(server, client), daemon=True)
        other.start()
        _copy(client, server)
        other.join()

    def close(self) -> None:
        """Take no more connections."""
        self._socket.close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(CHUNK):
            target.sendall(data)
    except OSError:
        pass
    finally:
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                end.close()
