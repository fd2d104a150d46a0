"""Errors for packages that an extra installs."""


def missing(package: str, extra: str, purpose: str) -> ImportError:
    """Return the exception for a package that is not installed.

    :param purpose: what needs it.
    """
    return ImportError(f"{purpose} needs the package {package}: pip install 'pushd-client[{extra}]'", name=package)
