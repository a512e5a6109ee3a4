"""A certificate authority made on the spot, and one certificate for this machine signed by it."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

# A wildcard right under the top-level domain (`*.localhost`) is trusted by nobody.
NAMES = ("localhost", "s3.localhost", "*.s3.localhost")
VALID = timedelta(days=3650)


def make_certificates(folder: Path) -> None:
    """Write `ca.pem`, `server.key`, `server.crt` and `server.pem` (key, then certificate)."""
    folder.mkdir(parents=True, exist_ok=True)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = _signed("VoxRelay test authority", ca_key.public_key(), None, ca_key)
    certificate = _signed("localhost", key.public_key(), ca, ca_key)
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.key").touch(mode=0o600)
    (folder / "server.pem").touch(mode=0o600)
    (folder / "ca.pem").write_bytes(ca.public_bytes(pem))
    (folder / "server.key").write_bytes(secret)
    (folder / "server.crt").write_bytes(certificate.public_bytes(pem))
    (folder / "server.pem").write_bytes(secret + certificate.public_bytes(pem))


def _signed(
    name: str,
    key: ec.EllipticCurvePublicKey,
    issuer: x509.Certificate | None,
    signer: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    """A certificate for `key`; an authority's own when there is no issuer."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + VALID)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
            critical=False,
        )
        .add_extension(_usage(issuer is None), critical=True)
    )
    if issuer is not None:
        hosts: list[x509.GeneralName] = [x509.DNSName(host) for host in NAMES]
        hosts.append(x509.IPAddress(ip_address("127.0.0.1")))
        builder = builder.add_extension(x509.SubjectAlternativeName(hosts), critical=False)
    return builder.sign(signer, hashes.SHA256())


def _usage(authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
