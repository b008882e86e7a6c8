"""Large content that is fetched once for all clients of a machine."""

import pytest

from galaxy_fl.content.content_id import ContentId
from galaxy_fl.content.fetched_once import expect_room
from galaxy_fl.exceptions import ConfigurationError


def test_what_does_not_fit_the_disk_is_not_fetched(tmp_path):
    """Its size is what a job's owner says, and the disk is the client's."""
    with pytest.raises(ConfigurationError, match=r"the base has 4,503,599,627,370,496 bytes, and the disk of .* free"):
        expect_room(ContentId(bytes(32), 2**52), tmp_path / "bases", "the base")
    expect_room(ContentId(bytes(32), 2**10), tmp_path / "bases", "the base")
