"""The generated pages say what the code says."""

import pytest

from pipeline.cli.reference import FOLDER, PAGES


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_current(name):
    assert (FOLDER / name).read_text() == PAGES[name](), "run: python -m pipeline.cli.reference"
