"""What every failure of a test should tell: the ends of the stages' and servers' logs."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.installation import Installation, log_ends


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the logs of installations that are up."""
    report = yield
    if report.failed:
        for installation in Installation.living:
            if logs := log_ends(installation.folder):
                report.sections.append(("Logs of the installation", logs))
    return report
