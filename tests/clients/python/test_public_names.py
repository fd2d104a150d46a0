"""The names that `pushd_client` exports."""

import pushd_client
import pytest


@pytest.mark.parametrize("name", pushd_client.__all__)
def test_every_public_name_can_be_imported(name):
    assert getattr(pushd_client, name) is not None


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        pushd_client.Nothing  # noqa: B018
