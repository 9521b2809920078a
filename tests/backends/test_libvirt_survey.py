import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.backends.fake_libvirt import BACKUP, FakeLibvirt, FakeVm
from tests.builders import vm_uuid
from vmtop.backends.libvirt_link import Links, parse_uri
from vmtop.backends.libvirt_survey import NEVER, Surveyor, choose

DEADLINE_S = 1.5


def becomes_true(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        threading.Event().wait(0.002)
    return condition()


@pytest.fixture
def daemon() -> Iterator[FakeLibvirt]:
    daemon = FakeLibvirt(*(FakeVm(uuid=vm_uuid(number), name=f"vm{number}", job=BACKUP) for number in (1, 2)))
    yield daemon
    daemon.end_all_hangs()


@pytest.fixture
def links(daemon: FakeLibvirt) -> Iterator[Links]:
    links = Links(daemon, parse_uri("qemu:///system"))
    yield links
    links.close()


def nobody_ends(uuid: str, name: str, stats: object) -> None:
    pytest.fail(f"no job of {name} ended")


def test_a_round_that_gets_on_is_waited_for_and_one_that_does_not_is_left_behind(
    daemon: FakeLibvirt, links: Links
) -> None:
    surveyor = Surveyor(daemon, links, DEADLINE_S, nobody_ends)
    first, second = (vm.uuid for vm in daemon.vms)
    surveyor.begin(0.0, running=[], off=[vm_uuid(9)], turn=0)
    surveyor.wait()
    surveyor.collect(0.0)
    assert daemon.openings == ["vmtop-survey"]

    daemon.vms[1].jobs.shut()
    surveyor.begin(10.0, running=[first, second], off=[], turn=0)

    def first_is_known(at_s: float) -> bool:
        surveyor.collect(at_s)
        return surveyor.known(first).facts is not None

    assert becomes_true(lambda: first_is_known(11.4)), "what is found is not kept back until the round is over"
    surveyor.collect(12.8)
    assert links.stuck == 0, "1.4 s ago it found something"
    surveyor.collect(13.0)
    assert links.stuck == 1
    assert surveyor.known(second).facts is None

    daemon.vms[1].jobs.open()
    surveyor.begin(14.0, running=[first, second], off=[], turn=0)
    surveyor.wait()
    surveyor.collect(14.0)
    assert surveyor.known(second).facts is not None, "it is asked again"


def test_jobs_of_a_vm_that_is_off_are_over(daemon: FakeLibvirt, links: Links) -> None:
    surveyor = Surveyor(daemon, links, DEADLINE_S, nobody_ends)
    uuid = daemon.vms[0].uuid
    surveyor.begin(0.0, running=[uuid], off=[], turn=1)
    surveyor.wait()
    surveyor.collect(0.0)
    assert surveyor.known(uuid).jobs != ()
    surveyor.begin(1.0, running=[], off=[uuid], turn=1)
    assert surveyor.known(uuid).jobs == ()


def test_vms_that_are_gone_are_forgotten(daemon: FakeLibvirt, links: Links) -> None:
    surveyor = Surveyor(daemon, links, DEADLINE_S, nobody_ends)
    surveyor.known("gone").facts_asked_s = 7.0
    surveyor.known("here").facts_asked_s = 7.0
    surveyor.keep({"here"})
    assert surveyor.known("gone").facts_asked_s == NEVER
    assert surveyor.known("here").facts_asked_s == 7.0


def test_those_to_be_asked_soon_are_all_asked() -> None:
    assert choose({"a": NEVER, "b": NEVER, "c": 5.0}, 0, 10.0) == {"a", "b"}


def test_of_the_others_those_are_asked_that_wait_longest() -> None:
    asked_s = {"a": 3.0, "b": 1.0, "c": 2.0, "d": NEVER}
    assert choose(asked_s, 2, 10.0) == {"b", "c", "d"}


def test_who_was_asked_a_moment_ago_is_left_in_peace() -> None:
    assert choose({"a": 3.0, "b": 9.0}, 5, 5.0) == {"a"}


def test_in_turns_everybody_is_asked() -> None:
    asked_s = {str(number): 0.0 for number in range(10)}
    seen: set[str] = set()
    for now_s in range(1, 6):
        chosen = choose(asked_s, 2, float(now_s))
        asked_s.update(dict.fromkeys(chosen, float(now_s)))
        assert not seen & chosen
        seen |= chosen
    assert seen == asked_s.keys()
