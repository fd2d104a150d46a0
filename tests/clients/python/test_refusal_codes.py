"""The exceptions of the client are those of the statuses that the daemon sends with each code."""

from pushd_client import AuthenticationFailed, NoResponders, Refused, TemporarilyRefused
from pushd_client.core.refusals import refusal

from pushd.core import errors

STATUS_OF_CODE = {
    kind.code: kind.status
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.Refusal) and kind is not errors.Refusal
}


def codes_of(*classes: type[Refused]) -> set[str]:
    """Return the codes that become these exceptions where no status comes with them, as over TCP."""
    return {code for code in STATUS_OF_CODE if isinstance(refusal(code, "no"), classes)}


def test_codes_of_refused_credentials_are_those_with_status_401() -> None:
    assert codes_of(AuthenticationFailed) == {code for code, status in STATUS_OF_CODE.items() if status == 401}


def test_codes_of_temporary_refusals_have_a_temporary_status() -> None:
    temporary = {code for code, status in STATUS_OF_CODE.items() if status in (408, 425, 429, 500, 502, 503, 507)}
    assert codes_of(TemporarilyRefused, NoResponders) == temporary
