import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import make_frame, make_guest, make_vm
from vmtop.actions.size import floor_bytes, parse_rate, parse_target, size_text
from vmtop.derive.metrics import VmMetrics
from vmtop.errors import UsageError
from vmtop.model.policy import DEFAULT_POLICY
from vmtop.model.sample import VmSample
from vmtop.units import GIB, KIB, MIB, TIB


def metrics(vm: VmSample | None = None) -> VmMetrics:
    return make_frame([make_vm() if vm is None else vm]).vms[0]


@pytest.mark.parametrize(
    ("typed", "target_bytes"),
    [
        ("4G", 4 * GIB),
        ("4GiB", 4 * GIB),
        (" 1.5g ", 1536 * MIB),
        ("512M", 512 * MIB),
        ("1048576K", 1 * GIB),
        ("-512M", 4 * GIB - 512 * MIB),
        ("+ 1g", 5 * GIB),
        ("-10%", (4 * GIB * 9 // 10) // KIB * KIB),
        ("+50%", 6 * GIB),
        ("max", 4 * GIB),
        # 1.5 GiB used and a tenth of it, up to a whole MiB, and a quarter of the margin.
        ("floor", (1690 + 38) * MIB),
        ("FLOOR", (1690 + 38) * MIB),
    ],
)
def test_sizes_changes_and_names_become_bytes(typed: str, target_bytes: int) -> None:
    assert parse_target(typed, metrics(), DEFAULT_POLICY) == target_bytes


@pytest.mark.parametrize(
    ("typed", "complaint"),
    [
        ("lots", "'lots' is no size: write a size (4G, 512M), a change (-512M, +10%), floor or max"),
        ("", "'' is no size"),
        ("4", "has no unit that is clear: G and GiB are 2**30 bytes"),
        ("4GB", "has no unit that is clear"),
        ("10%", "of what? Write +10% or -10%"),
        ("1e99G", "is no size"),
        ("4G; reboot", "is no size"),
    ],
)
def test_errors_say_what_is_accepted(typed: str, complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_target(typed, metrics(), DEFAULT_POLICY)
    assert complaint in str(caught.value)
    assert "-512M, +10%" in str(caught.value)


def test_a_change_of_an_unknown_size_says_why_it_is_unknown() -> None:
    vm = metrics(make_vm(balloon_bytes=None, unknown={"balloon_bytes": "libvirt kept it to itself"}))
    with pytest.raises(UsageError, match="which is not known: libvirt kept it to itself"):
        parse_target("-1G", vm, DEFAULT_POLICY)


def test_the_floor_of_a_vm_that_tells_nothing_is_not_known() -> None:
    vm = metrics(make_vm(guest=None, qemu=None, rss_bytes=None))
    assert floor_bytes(vm, DEFAULT_POLICY) is None
    with pytest.raises(UsageError, match="floor is not known"):
        parse_target("floor", vm, DEFAULT_POLICY)


def test_the_margin_of_a_small_guest_is_64_mib() -> None:
    vm = metrics(make_vm(balloon_bytes=GIB, guest=make_guest(usable_bytes=924 * MIB)))
    assert floor_bytes(vm, DEFAULT_POLICY) == (100 + 64) * MIB


def test_who_asks_for_the_floor_stays_above_it_when_the_guest_takes_a_little_more() -> None:
    asked = parse_target("floor", metrics(), DEFAULT_POLICY)
    later = metrics(make_vm(guest=make_guest(usable_bytes=2560 * MIB - 30 * MIB)))
    assert asked >= (floor_bytes(later, DEFAULT_POLICY) or 0)


def test_the_floor_is_never_above_the_maximum() -> None:
    vm = metrics(make_vm(guest=make_guest(usable_bytes=0)))
    assert floor_bytes(vm, DEFAULT_POLICY) == 4 * GIB


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (2 * GIB, "2.0G"),
        (1280 * MIB, "1.25G"),
        (512 * MIB, "512M"),
        (1536 * KIB, "1.5M"),
        (100 * MIB + 300 * KIB, "100M"),
        (3 * TIB, "3.0T"),
        (0, "0K"),
    ],
)
def test_sizes_read_as_they_are_typed(amount: int, text: str) -> None:
    assert size_text(amount) == text


@given(st.integers(64 * KIB, 16 * TIB))
def test_what_is_shown_can_be_typed_and_means_nearly_the_same(amount: int) -> None:
    parsed = parse_target(size_text(amount), metrics(), DEFAULT_POLICY)
    assert abs(parsed - amount) <= amount * 0.051 + KIB
    assert parsed % KIB == 0


@pytest.mark.parametrize(
    ("text", "bytes_per_s"), [("100M", 100 * MIB), ("1.5G/s", 3 * GIB // 2), (" 512KiB ", 512 * 1024), ("None", 0)]
)
def test_a_rate_is_an_amount_with_a_unit_or_none(text: str, bytes_per_s: int) -> None:
    assert parse_rate(text) == bytes_per_s


@pytest.mark.parametrize("text", ["", "fast", "100", "0M", "0.0001K", "-1M", "+1M", "10%", "100MB", "1M/min"])
def test_what_is_no_rate_is_said(text: str) -> None:
    with pytest.raises(UsageError, match="is no rate: write 100M for 100 MiB a second, or none for no limit"):
        parse_rate(text)
