from pathlib import Path

import pytest

from vmtop.config import Settings, parse_config, parse_environ, read_config, user_file
from vmtop.errors import UsageError
from vmtop.model.policy import DEFAULT_POLICY


def test_no_files_and_no_variables_give_the_defaults(tmp_path: Path) -> None:
    assert read_config({"HOME": str(tmp_path)}, tmp_path / "none.toml") == (Settings(), DEFAULT_POLICY)


def test_the_persons_file_wins_over_the_systems_and_variables_over_both(tmp_path: Path) -> None:
    system = tmp_path / "system.toml"
    system.write_text('sort = "name"\ndelay = 5\nglyphs = "ascii"\n[policy]\nhard_times = 1.5\n')
    own = user_file({"XDG_CONFIG_HOME": str(tmp_path)})
    own.parent.mkdir()
    own.write_text('delay = 3.5\ncolumns = ["name", "used"]\n[keys]\nquit = "q"\n')
    settings, policy = read_config({"XDG_CONFIG_HOME": str(tmp_path), "VMTOP_GLYPHS": "unicode"}, system)
    assert (settings.sort, settings.delay, settings.glyphs, settings.columns) == (
        "name",
        3.5,
        "unicode",
        ("name", "used"),
    )
    assert dict(settings.keys) == {"quit": "q"}
    assert policy.hard_times == 1.5
    assert policy.soft_times == DEFAULT_POLICY.soft_times


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("delay =", "f.toml: this is no TOML"),
        ("dealy = 2", "no key 'dealy'. Did you mean 'delay'"),
        ("delay = 0", "f.toml: delay: a delay of 0 s makes no sense"),
        ("delay = nan", "f.toml: delay: nan is not a number"),
        ('delay = "2"', "'2' is not a number"),
        ("delay = true", "True is not a number"),
        ("readonly = 1", "1 is not true or false"),
        ('glyphs = "emoji"', "'emoji' is none of auto, unicode, ascii"),
        ("sort = 3", "3 is not a text"),
        ("columns = [1]", "is not a list of texts"),
        ("keys = 1", "is not a table of texts"),
        ("policy = 1", "policy must be a table"),
        ("delay = 2\n[keys]\nquit = 1", "is not a table of texts"),
        ("[policy]\nhard_tmes = 1", "[policy]: there is no key 'hard_tmes'. Did you mean 'hard_times'"),
        ("[policy]\nleave_samples = 1.5", "1.5 is not a whole number"),
        ("[policy]\nhard_times = -1", "not below 0"),
        ("[policy]\nleave_times = 0", "[policy]: leave_times: 0 is below 1"),
        ("[policy]\nleave_samples = 0", "[policy]: leave_samples: 0 is below 1"),
        ("[policy]\nescalate_samples = 0", "[policy]: escalate_samples: 0 is below 1"),
        ("[policy]\nidle_ratio = 25", "[policy]: idle_ratio: 25 is no share; give 0 to 1"),
        ("[policy]\nstale_periods = 0", "[policy]: stale_periods: 0 is not above 0"),
        ("[policy]\nstale_least_s = 0.0", "[policy]: stale_least_s: 0 is not above 0"),
        ("[policy]\ncritical_times = 0", "[policy]: critical_times: 0 is not above 0"),
        ("[policy]\nhard_times = 2", "[policy]: hard_times: 2 is not below soft_times (2)"),
        ("[policy]\nwatch_times = 1", "[policy]: soft_times: 2 is not below watch_times (1)"),
    ],
)
def test_a_mistake_is_named_with_its_file_and_key(text: str, complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_config(text, "f.toml", Settings(), DEFAULT_POLICY)
    assert complaint in str(caught.value)
    assert str(caught.value).startswith("f.toml")


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "config.toml"
    folder.mkdir()
    with pytest.raises(UsageError, match=r"config\.toml: the configuration cannot be read"):
        read_config({"HOME": str(tmp_path)}, folder)
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="cannot be read"):
        read_config({"HOME": str(tmp_path)}, binary)


def test_variables_are_checked_like_the_file() -> None:
    environ = {
        "VMTOP_DELAY": "4",
        "VMTOP_READONLY": "yes",
        "VMTOP_COLUMNS": "name, used",
        "VMTOP_CONNECT": "test:///default",
    }
    settings = parse_environ(environ, Settings())
    assert (settings.delay, settings.readonly, settings.columns) == (4.0, True, ("name", "used"))
    assert settings.connect == "test:///default"
    for name, value in {"VMTOP_DELAY": "soon", "VMTOP_READONLY": "perhaps", "VMTOP_GLYPHS": "runes"}.items():
        with pytest.raises(UsageError, match="VMTOP_"):
            parse_environ({name: value}, Settings())


def test_a_mistyped_variable_is_reported_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match=r"no variable 'VMTOP_DELEY'\. Did you mean 'VMTOP_DELAY'"):
        parse_environ({"VMTOP_DELEY": "5"}, Settings())
    with pytest.raises(UsageError, match="no variable 'VMTOP_KEYS'"):
        parse_environ({"VMTOP_KEYS": "quit=q"}, Settings())


def test_variables_of_others_and_of_the_tests_are_left_alone() -> None:
    environ = {"VMTOP_NO_SKIPS": "1", "VMTOP_TEST_CACHE": "/tmp", "VMTOPX": "1", "HOME": "/"}
    assert parse_environ(environ, Settings()) == Settings()
