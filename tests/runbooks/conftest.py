"""The site on which runbooks are followed: one for each file of tests."""

from collections.abc import Iterator

import pytest

from tests.saved_site import DATA, Saved, saved_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    for made in saved_site(tmp_path_factory.mktemp("runbooks")):
        made.save_first()
        made.must("copy", DATA)
        made.must("verify", "--all")
        made.must("status")
        yield made


@pytest.fixture
def saved(site: Saved) -> Iterator[Saved]:
    """All is well afterwards, and so it is before the next."""
    yield site
    site.must("status")
