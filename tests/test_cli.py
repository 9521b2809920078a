import csv
import gc
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vmtop.cli import main

JSON_VM = {
    "name", "uuid", "state", "maximum_bytes", "balloon_bytes", "used_bytes", "cache_bytes", "free_bytes", "rss_bytes",
    "host_swap_bytes", "ksm_merged_bytes", "ksm_saved_bytes", "guest_swap_in_bytes_per_s", "guest_swap_out_bytes_per_s",
    "guest_major_faults_per_s", "host_major_faults_per_s", "psi_some_avg10_ratio", "guest_age_s", "jobs", "unknown",
}  # fmt: skip
JSON_HOST = {
    "total_bytes", "available_bytes", "free_bytes", "cache_bytes", "swap_total_bytes", "swap_used_bytes",
    "swap_in_bytes_per_s", "swap_out_bytes_per_s", "psi_some_avg10_ratio", "psi_full_avg10_ratio", "ksm_saved_bytes",
    "overcommit_configured_ratio", "overcommit_current_ratio", "level", "cause", "unknown",
}  # fmt: skip
"""The names that others build on."""


@pytest.fixture(autouse=True)
def no_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


@pytest.fixture(autouse=True)
def garbage_collection_as_before() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    gc.enable()


def test_json_has_the_promised_names_and_a_reason_for_each_null(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--demo", "--json", "-n", "2", "-d", "0.1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    for line in lines:
        document = json.loads(line)
        assert {"schema", "time", "backend", "uri", "simulated", "host", "vms"} <= set(document)
        assert (document["schema"], document["backend"], document["simulated"]) == (1, "simulator", True)
        assert set(document["host"]) >= JSON_HOST
        assert len(document["vms"]) >= 12
        for part in (document["host"], *document["vms"]):
            assert {name for name, value in part.items() if value is None} == set(part["unknown"])
        for vm in document["vms"]:
            assert set(vm) >= JSON_VM


def test_csv_has_one_head_and_a_row_for_each_vm_and_reading(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--demo", "calm", "--csv", "-n", "2", "-d", "0.1", "--columns", "name,used,balloon"]) == 0
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert "name" in rows[0]
    assert len(rows) == 1 + 2 * len({row[rows[0].index("name")] for row in rows[1:]})


def test_the_filter_leaves_what_matches_and_finding_nothing_is_code_5(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--demo", "--once", "--json", "--filter", "WEB"]) == 0
    names = [vm["name"] for vm in json.loads(capsys.readouterr().out)["vms"]]
    assert names
    assert all("web" in name for name in names)
    capsys.readouterr()
    assert main(["--demo", "--once", "--filter", "no such vm"]) == 5
    assert capsys.readouterr().err == "vmtop: no VM matches 'no such vm'\n"


def test_sorting_by_name_and_reversed(capsys: pytest.CaptureFixture[str]) -> None:
    def names(*options: str) -> list[str]:
        assert main(["--demo", "--once", "--json", *options]) == 0
        return [vm["name"] for vm in json.loads(capsys.readouterr().out)["vms"]]

    assert names("--sort", "name") == sorted(names("--sort", "name"))
    assert names("--sort", "name", "-r") == names("--sort", "name")[::-1]


def test_the_same_seed_gives_the_same_fleet_and_another_seed_another(capsys: pytest.CaptureFixture[str]) -> None:
    def fleet(seed: str) -> list[tuple[str, int]]:
        assert main(["--demo", "--seed", seed, "--once", "--json"]) == 0
        return [(vm["name"], vm["maximum_bytes"]) for vm in json.loads(capsys.readouterr().out)["vms"]]

    assert fleet("7") == fleet("7")
    assert fleet("7") != fleet("8")


def test_the_list_of_scenarios_has_a_sentence_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--demo", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split()[0] == "overcommit" for line in lines)
    assert all(len(line.split()) > 3 for line in lines)


def test_the_list_of_columns_explains_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--columns", "list"]) == 0
    listed = capsys.readouterr().out
    assert "balloon - usable" in listed


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--demo", "clam"], "calm"),
        (["--demo", "-o", "usde"], "Did you mean 'used'"),
        (["--demo", "--columns", "name,ued"], "Did you mean 'used'"),
        (["--demo", "-d", "0"], "--delay: a delay of 0 s makes no sense"),
        (["--demo", "-d", "nan"], "--delay"),
        (["--demo", "-d", "soon"], "invalid float value: 'soon'"),
        (["--demo", "-n", "0"], "--iterations 0"),
        (["--demo", "-c", "test:///default"], "contradict"),
        (["--seed", "3"], "--seed belongs to the simulated host; add --demo"),
        (["--demo", "--speed", "-1"], "--speed -1"),
        (["--demo", "--vms", "0"], "--vms 0"),
        (["--demo", "--json", "--csv"], "not allowed with"),
        (
            ["--demo", "--filter", "/(/", "--once"],
            "--filter: the regular expression cannot be used: a ( is never closed",
        ),
        (["--demo", "--once", "-n", "5"], "--once and --iterations 5 contradict"),
        (["--demo", "--json", "--columns", "name,used"], "JSON always has every field"),
        (["--demo", "recovery", "/b"], "recovery reads files of this machine"),
        (["--demo", "restore", "web-1", "--from", "/b", "--to", "/f"], "leave --demo out"),
        (["--wrong"], "unrecognized arguments: --wrong"),
    ],
)
def test_bad_input_is_one_line_that_says_what_and_what_now(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("vmtop: ")
    assert captured.err.count("\n") == 1
    assert complaint in captured.err


def test_an_unreadable_configuration_is_one_line_with_its_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "vmtop" / "config.toml"
    path.parent.mkdir()
    path.write_text("delay = = 2")
    assert main(["--demo", "--once"]) == 2
    captured = capsys.readouterr()
    assert str(path) in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize("option", ["--once", "--json"])
def test_keys_are_checked_without_a_screen_too(option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "vmtop" / "config.toml"
    path.parent.mkdir()
    path.write_text('[keys]\nqiut = "q"\n')
    assert main(["--demo", "-n", "1", option]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Did you mean 'quit'" in captured.err
    path.write_text('[keys]\nquit = "q,f10"\n')
    assert main(["--demo", "-n", "1", option]) == 0


def test_hostile_text_in_an_argument_does_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--demo", "x\x1b]52;c;eA==\x07\n[red]"]) == 2
    error = capsys.readouterr().err
    assert "\x1b" not in error
    assert error.count("\n") == 1


def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vmtop", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)  # type: ignore[call-overload,no-any-return]


def test_output_that_goes_nowhere_any_more_ends_quietly() -> None:
    command = f"{sys.executable} -m vmtop --demo -b -d 0.1 | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith("vmtop ")
    assert done.stderr == ""


@pytest.mark.parametrize("arguments", ["--demo --once", "--demo list", "--columns list", "--help", "--version"])
@pytest.mark.parametrize(
    ("redirection", "reason"), [(">&-", "standard output is closed"), ("> /dev/full", "No space left on device")]
)
def test_output_that_cannot_be_written_is_one_line(arguments: str, redirection: str, reason: str) -> None:
    command = f"{sys.executable} -m vmtop {arguments} {redirection}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"vmtop: the output cannot be written: {reason}"
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_complaints_that_nobody_can_hear_change_no_exit_code() -> None:
    command = f"{sys.executable} -m vmtop --wrong 2>&-"
    assert subprocess.run(["bash", "-c", command], timeout=60, check=False).returncode == 2


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
@pytest.mark.parametrize("form", ["--csv", "--json", "--unicode"])
def test_letters_that_the_output_does_not_know_become_question_marks(encoding: str, form: str) -> None:
    environ = {**os.environ, "PYTHONIOENCODING": encoding}
    done = run("--demo", "hostile-names", "--once", form, env=environ, encoding=encoding)
    assert done.stderr == ""
    assert done.returncode == 0
    assert ("?" in done.stdout) or form == "--json"


def test_a_redirected_run_falls_back_to_batch_and_nothing_heavy_is_imported() -> None:
    program = (
        "import sys; from vmtop.cli import main; code = main(['--demo', '-n', '1']);"
        "print(code, sorted({'textual', 'rich', 'plotext', 'libvirt', 'asyncio'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"
    assert "SIMULATED" in done.stdout


def test_the_version_is_told_without_loading_what_reads_or_shows() -> None:
    program = (
        "import sys; from vmtop.cli import main\n"
        "try: main(['--version'])\n"
        "except SystemExit: print(sorted({'dataclasses', 'vmtop.pipeline', 'vmtop.model.sample'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_output_without_unicode_is_ascii_from_end_to_end() -> None:
    done = run("--demo", "--once", "--ascii")
    assert done.returncode == 0
    assert done.stdout.isascii()


def test_version_and_help_answer_without_a_source() -> None:
    assert run("--version").stdout.startswith("vmtop ")
    told = run("--help").stdout
    assert "--connect" in told
    assert "when a signal ends it: 129 hung up, 130 interrupted, 143 terminated" in told
