import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmtop.model.policy import min_free_bytes
from vmtop.units import GIB, MIB


@pytest.mark.parametrize(("gib", "mib"), [(4, 245), (12, 573), (16, 655), (28, 901), (128, 1925), (1024, 11100)])
def test_the_memory_to_keep_free_follows_the_sliding_scale(gib: int, mib: int) -> None:
    assert min_free_bytes(gib * GIB) // MIB == mib


@given(st.integers(0, 2**50), st.integers(0, 2**40))
def test_a_larger_host_keeps_more_free_but_never_a_larger_share(total: int, more: int) -> None:
    small, large = min_free_bytes(total), min_free_bytes(total + more)
    assert small <= large
    assert large * max(total, 1) <= (small + 4) * (total + more) + total
