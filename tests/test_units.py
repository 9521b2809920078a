import pytest

from vmtop.errors import UsageError
from vmtop.units import GIB, KIB, MIB, TIB, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1048576", MIB),
        ("512M", 512 * MIB),
        ("512m", 512 * MIB),
        ("4GiB", 4 * GIB),
        ("4 gb", 4 * GIB),
        (" 1.5G ", GIB + GIB // 2),
        ("2K", 2 * KIB),
        ("1T", TIB),
        ("7B", 7),
    ],
)
def test_sizes_are_read_in_binary_units(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1", "1e3", "4 X", "1.2.3", "½", "٣G", "4GiBs", "nan"])
def test_what_is_no_size_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(UsageError, match="such as 512M or 4GiB"):
        parse_size(text)
