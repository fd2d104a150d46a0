"""Keys that verify signatures: from JWK sets (RFC 7517), PEM files and files of secrets.

Each key is bound to the algorithms for which its kind is made when it is read, never by a token.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate
from joserfc.errors import JoseError
from joserfc.jwa import JWS_ALGORITHMS, JWSAlgModel
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey

from pushd.auth.url_signature import check_secret

SYMMETRIC = ("HS256", "HS384", "HS512")
"""Algorithms (RFC 7518, section 3.1) that verify with a shared secret."""
ASYMMETRIC = (
    *("RS256", "RS384", "RS512"),
    *("PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512"),
    *("EdDSA", "Ed25519"),
)
"""Algorithms (RFC 7518, RFC 8037, RFC 9864) that verify with a public key."""
_EDWARDS = frozenset(("EdDSA", "Ed25519"))
RSA_BITS = range(2048, 8193)
"""The sizes of RSA keys; longer ones would occupy the reactor."""
_MODELS: Mapping[str, JWSAlgModel] = MappingProxyType(
    {model.name: model for model in JWS_ALGORITHMS if model.name in (*SYMMETRIC, *ASYMMETRIC)}
)
_JWK_TYPES: Mapping[str, tuple[type[Key], tuple[str, ...]]] = MappingProxyType(
    {"RSA": (RSAKey, ("n", "e")), "EC": (ECKey, ("crv", "x", "y")), "OKP": (OKPKey, ("crv", "x"))}
)
"""The class of each kind of public key, and its members; others, such as ``x5u``, are ignored."""
_PEM_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----.*?-----END \1-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A key, its id (the ``kid`` of a JWK, or the name of its file), and the algorithms for which it may be used."""

    key_id: str | None
    algorithms: frozenset[str]
    key: Key
    thumbprint: str = field(init=False, repr=False, compare=False)
    """The fingerprint of the key (RFC 7638)."""

    def __post_init__(self) -> None:
        """Set what follows from the key."""
        object.__setattr__(self, "thumbprint", self.key.thumbprint())

    def verify(self, algorithm: str, signed: bytes, signature: bytes) -> bool:
        """Return whether a signature is valid. The algorithm must be one of the key's."""
        return _MODELS[algorithm].verify(signed, signature, self.key)


class KeySet:
    """The keys of an issuer.

    :param unusable: what is wrong with the other keys of the set, one phrase each.
    """

    def __init__(self, keys: Sequence[VerificationKey], unusable: Sequence[str] = ()) -> None:
        self.unusable = tuple(unusable)
        self._keys = tuple(keys)
        self.thumbprints = frozenset(key.thumbprint for key in keys)
        """The fingerprints of the keys (RFC 7638)."""
        self._ids = frozenset(key.key_id for key in keys)

    def __len__(self) -> int:
        return len(self._keys)

    def knows(self, key_id: str | None) -> bool:
        """Return whether a key has this id. A token without an id asks for any key."""
        return key_id is None or key_id in self._ids

    def candidates(self, key_id: str | None, algorithm: str) -> list[VerificationKey]:
        """Return the keys for this algorithm that have this id; all of them if the id is None."""
        keys = (key for key in self._keys if algorithm in key.algorithms)
        return [key for key in keys if key_id is None or key.key_id == key_id]


def parse_key_set(document: object) -> KeySet:
    """Return the keys of a JWK set (RFC 7517, section 5), decoded from JSON. Unusable keys are left out.

    :raises ValueError: when it is no JWK set.
    """
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError('is not a JWK set: must be a JSON object with a list "keys" (RFC 7517, section 5)')
    keys, unusable = [], []
    for number, entry in enumerate(entries, 1):
        try:
            keys.append(parse_jwk(entry))
        except ValueError as error:
            unusable.append(f"key {number} {error}")
    return KeySet(keys, unusable)


def parse_jwk(jwk: object) -> VerificationKey:
    """Return a public key (RFC 7517, section 4), decoded from JSON.

    :raises ValueError: when it is unusable. The text is a phrase that follows the name of the key.
    """
    if not isinstance(jwk, dict):
        raise ValueError("is not a JSON object")
    key_id, algorithm = jwk.get("kid"), jwk.get("alg")
    if not isinstance(key_id, (str, type(None))) or not isinstance(algorithm, (str, type(None))):
        raise ValueError("has a kid or an alg that is not a string")
    _check_purpose(jwk)
    return _bind(_import(jwk), key_id, algorithm)


def parse_pem(text: bytes, key_id: str) -> list[VerificationKey]:
    """Return the public keys of a PEM file, which may be in certificates. All have the same id.

    :raises ValueError: when it contains none, or an unusable or a private one.
    """
    blocks = list(_PEM_BLOCK.finditer(text))
    if b"PRIVATE KEY-----" in text:
        raise ValueError("contains a private key: only public keys are needed to verify tokens")
    if not blocks:
        raise ValueError("contains no public key: must be a JWK set or PEM")
    return [_bind(_import_pem(block[0], block[1]), key_id) for block in blocks]


def parse_secret(content: bytes, key_id: str) -> VerificationKey:
    """Return the key of a shared secret. A line end at the end of its file does not count.

    :raises ValueError: when it is too short, or is a key for asymmetric algorithms.
    """
    secret = check_secret(content)
    try:
        return VerificationKey(key_id, frozenset(SYMMETRIC), OctKey.import_key(secret))
    except ValueError:
        raise ValueError("must be a secret, not a key for asymmetric algorithms") from None


def _check_purpose(jwk: Mapping[str, object]) -> None:
    if jwk.get("kty") == "oct":
        raise ValueError("is symmetric: secrets are configured in secret_files")
    if "d" in jwk:
        raise ValueError("is private: it must not be published, and must be replaced where it was")
    if jwk.get("use", "sig") != "sig":
        raise ValueError("is not for signatures (use)")
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise ValueError("is not for verifying (key_ops)")


def _import(jwk: Mapping[str, object]) -> Key:
    kind = jwk.get("kty")
    if not isinstance(kind, str) or kind not in _JWK_TYPES:
        raise ValueError(f"has an unknown type (kty; supported: {', '.join(_JWK_TYPES)})")
    key_class, members = _JWK_TYPES[kind]
    values = {name: value for name in members if isinstance(value := jwk.get(name), str)}
    if len(values) < len(members):
        raise ValueError(f"must have the members {', '.join(members)}, which are strings")
    try:
        return key_class.import_key({"kty": kind, **values})
    except (JoseError, ValueError, TypeError, KeyError, UnsupportedAlgorithm):
        raise ValueError("is malformed") from None


def _import_pem(block: bytes, label: bytes) -> Key:
    try:
        is_certificate = label == b"CERTIFICATE"
        key = load_pem_x509_certificate(block).public_key() if is_certificate else load_pem_public_key(block)
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("contains a malformed public key") from None
    if isinstance(key, RSAPublicKey):
        return RSAKey(key, key)
    if isinstance(key, EllipticCurvePublicKey):
        return ECKey(key, key)
    if isinstance(key, Ed25519PublicKey):
        return OKPKey(key, key)
    raise ValueError("contains a key of a kind that is not supported")


def _bind(key: Key, key_id: str | None, algorithm: str | None = None) -> VerificationKey:
    """Bind a public key to its algorithms. `algorithm`: the only one for which the issuer made it; None: any."""
    if isinstance(key, RSAKey) and (bits := key.public_key.key_size) not in RSA_BITS:
        raise ValueError(f"must have {RSA_BITS[0]} to {RSA_BITS[-1]} bits (has {bits})")
    algorithms = _algorithms(key)
    if algorithm is not None:
        algorithms &= with_synonyms((algorithm,))
    if not algorithms:
        raise ValueError("is for no supported algorithm")
    return VerificationKey(key_id, algorithms, key)


def _algorithms(key: Key) -> frozenset[str]:
    """Return the algorithms for the kind and curve of a public key."""
    if isinstance(key, OKPKey):  # joserfc would accept EdDSA with Ed448 too
        return _EDWARDS if key.curve_name == "Ed25519" else frozenset()
    return frozenset(name for name in ASYMMETRIC if _accepts(_MODELS[name], key))


def _accepts(model: JWSAlgModel, key: Key) -> bool:
    try:
        model.check_key(key)
    except JoseError:
        return False
    return True


def with_synonyms(names: Collection[str]) -> frozenset[str]:
    """Return algorithms with all their names: EdDSA with Ed25519 has two (RFC 9864, section 2.2)."""
    return frozenset(names).union(_EDWARDS if _EDWARDS.intersection(names) else ())
