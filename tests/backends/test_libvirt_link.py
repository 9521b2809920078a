import importlib
import os
from pathlib import Path
from typing import NoReturn

import pytest

from tests.backends.fake_libvirt import FakeError
from vmtop.backends.libvirt_link import explain, load_binding, parse_uri, pid_folders, quiet_log_outputs
from vmtop.errors import AccessError, BackendError, ConnectError, MissingBindingError


@pytest.mark.parametrize(
    ("uri", "driver", "is_remote", "open_uri"),
    [
        ("qemu:///system", "qemu", False, "qemu:///system"),
        ("qemu+unix:///session?socket=/run/x", "qemu", False, "qemu+unix:///session?socket=/run/x"),
        ("test:///default", "test", False, "test:///default"),
        ("qemu+ssh://root@kvm1/system", "qemu", True, "qemu+ssh://root@kvm1/system?no_tty=1"),
        ("qemu+ssh://kvm1/system?keyfile=/k", "qemu", True, "qemu+ssh://kvm1/system?keyfile=/k&no_tty=1"),
        ("qemu+ssh://kvm1/system?no_tty=0", "qemu", True, "qemu+ssh://kvm1/system?no_tty=0"),
        ("qemu+ssh:///system", "qemu", True, "qemu+ssh:///system?no_tty=1"),
        ("qemu+tls://kvm1/system", "qemu", True, "qemu+tls://kvm1/system"),
        ("qemu+libssh://kvm1/system", "qemu", True, "qemu+libssh://kvm1/system"),
        ("qemu://kvm1/system", "qemu", True, "qemu://kvm1/system"),
        ("qemu+tcp://[::1]:16509/system", "qemu", True, "qemu+tcp://[::1]:16509/system"),
    ],
)
def test_uris(uri: str, driver: str, is_remote: bool, open_uri: str) -> None:
    target = parse_uri(uri)
    assert (target.uri, target.driver, target.is_remote, target.open_uri) == (uri, driver, is_remote, open_uri)


@pytest.mark.parametrize("uri", ["", "system", "/var/run/libvirt", "qemu+ssh://[::1/system"])
def test_what_is_no_uri_is_refused_with_examples(uri: str) -> None:
    with pytest.raises(ConnectError, match="Some that exist: qemu:///system"):
        parse_uri(uri)


@pytest.mark.parametrize(
    ("uri", "folders"),
    [
        ("qemu:///system", ["run/libvirt/qemu", "run/libvirt/qemu/run"]),
        ("qemu:///session", ["me/libvirt/qemu", "me/libvirt/qemu/run"]),
        ("qemu:///session?socket=/lab/run/libvirt/sock", ["lab/run/libvirt/qemu", "lab/run/libvirt/qemu/run"]),
        ("qemu+ssh://kvm1/system", []),
    ],
)
def test_pid_files_lie_where_the_daemon_of_the_uri_puts_them(
    uri: str, folders: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/me")
    assert list(pid_folders(parse_uri(uri), tmp_path)) == [tmp_path / folder for folder in folders]


@pytest.mark.parametrize(
    ("outputs", "kept"),
    [
        ("", "4:file:/dev/null"),
        ("1:stderr", "4:file:/dev/null"),
        ("1:file:/tmp/libvirt.log", "1:file:/tmp/libvirt.log"),
        ("3:syslog:vmtop 1:stderr", "3:syslog:vmtop"),
    ],
)
def test_libvirt_logs_where_the_operator_wants_but_not_to_the_terminal(outputs: str, kept: str) -> None:
    assert quiet_log_outputs(outputs) == kept


def refuse_import(error: ImportError, monkeypatch: pytest.MonkeyPatch) -> None:
    def import_module(_name: str) -> NoReturn:
        raise error

    monkeypatch.setenv("LIBVIRT_LOG_OUTPUTS", os.environ.get("LIBVIRT_LOG_OUTPUTS", ""))
    monkeypatch.setattr(importlib, "import_module", import_module)


def test_without_a_binding_one_message_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_import(ModuleNotFoundError("No module named 'libvirt'", name="libvirt"), monkeypatch)
    with pytest.raises(MissingBindingError) as caught:
        load_binding()
    for words in ("apt install python3-libvirt", "dnf install python3-libvirt", "pip install libvirt-python", "--demo"):
        assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        ModuleNotFoundError("No module named 'libvirtmod'", name="libvirtmod"),
        ImportError("libvirt.so.0: version `LIBVIRT_9.0.0' not found", name="libvirtmod"),
    ],
)
def test_a_binding_of_another_python_is_called_that(error: ImportError, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_import(error, monkeypatch)
    with pytest.raises(MissingBindingError, match="built for another Python") as caught:
        load_binding()
    for words in (str(error), "--system-site-packages", "--demo"):
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("error", "is_opening", "kind", "words"),
    [
        (FakeError(45, "authentication failed"), True, AccessError, "group libvirt"),
        (FakeError(38, "Failed to connect socket to '/s': Permission denied", 7), True, AccessError, "group libvirt"),
        (FakeError(1, "Unable to get system bus connection", 11), True, AccessError, "group libvirt"),
        (FakeError(88, "access denied"), False, AccessError, "refuses us"),
        (
            FakeError(38, "Failed to connect socket to '/s': No such file or directory", 7),
            True,
            ConnectError,
            "systemctl",
        ),
        (FakeError(38, "Failed to connect socket to '/s': Connection refused", 7), True, ConnectError, "systemctl"),
        (FakeError(5, "no connection driver available", 0), True, ConnectError, "Some that exist"),
        (FakeError(1, "internal error: client socket is closed", 7), False, ConnectError, "is gone"),
        (FakeError(1, "something\nelse\n", 10), False, BackendError, "failed: something else"),
    ],
)
def test_errors_of_libvirt_in_plain_words(
    error: FakeError, is_opening: bool, kind: type[BackendError], words: str
) -> None:
    explained = explain(error, parse_uri("qemu:///system"), is_opening=is_opening)
    assert type(explained) is kind
    assert words in str(explained)
    assert "qemu:///system" in str(explained)


def test_a_driver_that_libvirt_does_not_have_is_not_called_a_missing_daemon() -> None:
    error = FakeError(38, "Failed to connect socket to '/s': No such file or directory", 7)
    assert "Some that exist" in str(explain(error, parse_uri("qwmu:///system"), is_opening=True))


def test_a_login_that_would_need_a_password_is_no_matter_of_local_groups() -> None:
    error = FakeError(38, "Cannot recv data: kvm1: Permission denied (publickey,password).", 7)
    explained = explain(error, parse_uri("qemu+ssh://kvm1/system"), is_opening=True)
    assert isinstance(explained, AccessError)
    assert "without a question" in str(explained)


def test_a_remote_host_that_refuses_is_not_called_a_missing_local_daemon() -> None:
    error = FakeError(38, "ssh: connect to host kvm1 port 22: Connection refused", 7)
    text = str(explain(error, parse_uri("qemu+ssh://kvm1/system"), is_opening=True))
    assert text.startswith("no connection to qemu+ssh://kvm1/system: ssh:")
