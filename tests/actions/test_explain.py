import pytest

from vmtop.actions.explain import explain
from vmtop.errors import ControlError


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        (
            68,
            "locked. Wait until that is over",
            "another job held the VM for too long: locked. Wait until that is over",
        ),
        (27, "bad XML. Nothing was done", "libvirt does not understand what it was sent: bad XML. Nothing was done"),
        (29, "read only", "the connection may only read: read only"),
        (35, "bad XML", "libvirt does not take what it was sent: bad XML"),
        (9, "operation failed", "operation failed"),
        (None, "the folder is gone", "the folder is gone"),
    ],
)
def test_the_meaning_comes_before_the_words_of_libvirt(code: int | None, text: str, expected: str) -> None:
    assert explain(ControlError(text, code)) == expected
