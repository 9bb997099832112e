"""The generated pages say what the code says, and the page of secrets says of each kind where its shape is from."""

import pytest

from pipeline.cli.reference import FOLDER, PAGES


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_current(name):
    assert (FOLDER / name).read_text() == PAGES[name](), "run: python -m pipeline.cli.reference"


def test_of_each_kind_of_secret_the_page_says_where_its_shape_is_from_or_that_it_is_not_known():
    from pipeline.redaction.kinds.secrets import secrets

    page = (FOLDER / "secrets.md").read_text()
    assert [one.entity for one in secrets() if f"`{one.entity}`" not in page] == []
    seen = page.split("## Seen")[1].split("## Not seen")[0]
    assert seen.count("| `") >= 25
