"""What tests with real guests share. Everything in this folder is marked `hypervisor`."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.hypervisor.errors import MissingPieceError
from tests.hypervisor.guest import Guest
from tests.hypervisor.guest_image import prepare
from tests.hypervisor.lab import HostLab, host_lab

StartGuests = Callable[..., list[Guest]]


@pytest.hookimpl(tryfirst=True)  # before pytest itself looks at the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.hypervisor)
            item.add_marker(pytest.mark.xdist_group("hypervisor"))  # one daemon, one test after the other


@pytest.fixture(scope="session")
def real_guests() -> None:
    """Skip the test where real guests cannot run."""
    try:
        prepare()
    except MissingPieceError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def lab(real_guests: None) -> Iterator[HostLab]:
    """One daemon for the whole test run. Leave it running, and leave no guests; `lab.running()` sees to both."""
    with host_lab() as lab:
        yield lab


@pytest.fixture(scope="module")
def own_lab(real_guests: None) -> Iterator[HostLab]:
    """A daemon for one file of tests, which may hang or kill it without harm to others."""
    with host_lab() as lab:
        yield lab


@pytest.fixture
def start_guests(lab: HostLab) -> Iterator[StartGuests]:
    """Starts the specified guests, waits for them and returns them; they are removed after the test."""
    with ExitStack() as stack:
        yield lambda *specs: stack.enter_context(lab.running(*specs))
