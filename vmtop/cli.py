"""Arguments, and the only place where the parts are put together.

Each part is imported by the function that needs it: `vmtop --version` loads next to nothing, `vmtop --once --json` no
screen.
"""

import argparse
import gc
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from io import TextIOWrapper
from typing import TYPE_CHECKING, NoReturn, TextIO

from vmtop import __version__
from vmtop.backends.clock import SystemClock
from vmtop.batch import run_batch, write_output
from vmtop.command_line import COMMANDS
from vmtop.errors import OutputError, UsageError, VmtopError

if TYPE_CHECKING:
    from vmtop.actions.audit import Audit
    from vmtop.actions.desk import Source
    from vmtop.actions.ledger import Ledger
    from vmtop.actions.runner import Runner
    from vmtop.actions.situation import Newest
    from vmtop.actions.verification import Verification
    from vmtop.backends.base import Backend, Clock
    from vmtop.config import Settings
    from vmtop.derive.frame import Frame
    from vmtop.model.policy import Policy
    from vmtop.viewmodel.backups import Recovery
    from vmtop.viewmodel.ui_state import UiState

DEFAULT_URI = "qemu:///system"
NOTHING_MATCHED = 5
FIRST_READING_S = 1.0
"""How long a screen that could open waits for the first reading: a source that fails at once is one line instead."""
_THEMES = {"auto": None, "dark": "textual-dark", "light": "textual-light"}

_COMMAND_LINES = "\n".join(f"  {name:<10}{summary}" for name, summary in COMMANDS.items())
_EPILOG = f"""\
commands:
{_COMMAND_LINES}
  each with --help, --json and, where it changes something, --dry-run and --yes

exit codes: 0 done, 1 error or refused, 2 usage, 3 no connection, 4 no permission, 5 no VM matched;
  when a signal ends it: 129 hung up, 130 interrupted, 143 terminated
files: $XDG_CONFIG_HOME/vmtop/config.toml, /etc/vmtop/config.toml; VMTOP_* variables win over them
"""


COMMAND_DELAY_S = 1.0
"""Between two readings while a command is carried out."""
PIPE_WIDTH = 120
"""Cells of a line that goes to a file or program."""
_OF_REAL_FILES = ("recovery", "restore")
"""Commands that look into folders of this machine, whatever is watched."""
_OF_THE_TABLE = (
    *("delay", "sort", "reverse", "filter", "columns", "theme", "mouse"),
    *("batch", "iterations", "once", "csv"),
)
"""Options that make no sense with a command."""

_JSON_HELP = "one JSON object a line, always with every field; bytes, ratios 0-1, null is unknown"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see vmtop --help")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        write_output(_standard_output(), "")  # --help and --version are to be told when they cannot be written, too
        super().exit(status, message)


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = _Parser(
        prog="vmtop",
        usage="vmtop [options]\n       vmtop [-c URI | --demo [SCENARIO]] [--readonly] COMMAND ...",
        description="A memory top for virtual machines on KVM: what each guest uses, what the host pays for it, "
        "what is shared, what is swapped, and how old each number is.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"vmtop {__version__}")

    source = parser.add_argument_group("where the figures come from")
    source.add_argument(
        "-c",
        "--connect",
        metavar="URI",
        help=f"libvirt connection, as qemu+ssh://root@host/system (default: LIBVIRT_DEFAULT_URI, then {DEFAULT_URI})",
    )
    source.add_argument(
        "--demo",
        nargs="?",
        const="",
        metavar="SCENARIO",
        help="a simulated host instead; --demo list names the scenarios, the usual one first",
    )
    source.add_argument("--seed", type=int, metavar="N", help="demo: another fleet, the same each time (default: 1)")
    source.add_argument("--vms", type=int, metavar="N", help="demo: how many VMs")
    source.add_argument("--speed", type=float, metavar="X", help="demo: X times as fast as the clock (default: 1)")
    source.add_argument("--readonly", action="store_true", default=None, help="never change a VM")

    screen = parser.add_argument_group("what is shown")
    screen.add_argument("-d", "--delay", type=float, metavar="S", help="seconds between two readings (default: 2)")
    screen.add_argument("-o", "--sort", metavar="COLUMN", help="column that sorts (default: used)")
    screen.add_argument("-r", "--reverse", action="store_true", help="sort the other way round")
    screen.add_argument("--filter", metavar="TEXT", default="", help="only VMs whose name has TEXT in it, or /REGEX/")
    screen.add_argument("--columns", metavar="A,B,...", help="which columns, in this order; --columns list names them")
    glyphs = screen.add_mutually_exclusive_group()
    glyphs.add_argument(
        "--ascii", dest="glyphs", action="store_const", const="ascii", help="no characters beyond ASCII"
    )
    glyphs.add_argument("--unicode", dest="glyphs", action="store_const", const="unicode", help="blocks and braille")
    screen.add_argument("--theme", choices=("auto", "dark", "light"), help="colours (default: the terminal's own)")
    screen.add_argument("--no-mouse", dest="mouse", action="store_false", default=None, help="leave the mouse alone")

    batch = parser.add_argument_group("without a screen")
    batch.add_argument("-b", "--batch", action="store_true", help="print one block for each reading")
    batch.add_argument("-n", "--iterations", type=int, metavar="N", help="stop after N readings")
    batch.add_argument("--once", action="store_true", help="the same as -b -n 1")
    form = batch.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help=_JSON_HELP)
    form.add_argument("--csv", action="store_true", help="one row for each VM and reading")

    command = parser.add_argument(
        "words", nargs=argparse.PARSER, metavar="COMMAND", help="do something instead; see below"
    )
    command.required, command.default = False, ()
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run vmtop and return its exit code: the entry point of the command."""
    # Until everything is set up looking for garbage only costs time: nothing that is imported ever becomes garbage.
    gc.disable()
    if isinstance(sys.stdout, TextIOWrapper):
        # Names are foreign, and whoever gets the output may know ASCII only.
        sys.stdout.reconfigure(errors="replace")
    try:
        return _run(make_parser().parse_args(_split_demo(arguments)), os.environ)
    except VmtopError as error:
        if isinstance(error, OutputError):
            _discard_output()
        _complain(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # The reader of our output went away, as `head` does: nothing is left to say.
        _discard_output()
        return 0


def _split_demo(arguments: Sequence[str] | None) -> list[str]:
    """In `vmtop --demo balloon web-1 2G` the word after --demo is a command, not a scenario."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    for place, word in enumerate(given[1:]):
        if word in COMMANDS and given[place] == "--demo":
            return [*given[:place], "--demo=", *given[place + 1 :]]
    return given


def _complain(text: str) -> None:
    """Say on stderr, where there is one, why vmtop cannot go on."""
    from vmtop.viewmodel.formats import safe_text

    if sys.stderr is not None:
        sys.stderr.write(f"vmtop: {safe_text(text)}\n")


def _discard_output() -> None:
    """Have Python write nowhere what it still holds; at the end it would try, fail and say so."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _standard_output() -> TextIO:
    if sys.stdout is None:
        raise OutputError("the output cannot be written: standard output is closed")
    return sys.stdout


def _run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    output = _standard_output()
    if options.demo == "list":
        from vmtop.backends.simulator.scenario import describe_scenarios

        write_output(output, describe_scenarios())
        return 0
    if options.columns == "list":
        from vmtop.viewmodel.help import describe_columns

        write_output(output, describe_columns())
        return 0
    from vmtop.config import read_config

    settings, policy = read_config(environ)
    settings = _with_options(settings, options)
    if options.words:
        return _run_command(options, settings, policy, environ)
    state = _ui_state(settings, options)
    check_options(options)
    if settings.keys:
        from vmtop.tui.keymap import apply_keymap

        apply_keymap(settings.keys)
    backend = make_backend(options, settings, environ)
    is_batch = options.batch or options.once or options.json or options.csv or options.iterations is not None
    if is_batch or _has_no_screen(environ):
        return _run_batch(options, state, policy, backend)
    return _run_screen(settings, state, policy, backend)


def check_options(options: argparse.Namespace) -> None:
    """Refuse options that contradict each other or make no sense.

    Raises:
        UsageError: says which and why.
    """
    if options.demo is not None and options.connect is not None:
        raise UsageError("--demo and --connect contradict each other; give one of them")
    for name in ("seed", "vms", "speed"):
        if getattr(options, name) is not None and options.demo is None:
            raise UsageError(f"--{name} belongs to the simulated host; add --demo")
    if options.vms is not None and not 1 <= options.vms <= 100_000:
        raise UsageError(f"--vms {options.vms}: give a number from 1 to 100000")
    if options.speed is not None and not (math.isfinite(options.speed) and 0 < options.speed <= 10_000):
        raise UsageError(f"--speed {options.speed:g}: give a factor above 0, at most 10000")
    if options.iterations is not None and options.iterations < 1:
        raise UsageError(f"--iterations {options.iterations}: give a number from 1")
    if options.once and options.iterations not in {None, 1}:
        raise UsageError(f"--once and --iterations {options.iterations} contradict each other; give one of them")
    for name in _OF_THE_TABLE if options.words else ():
        if getattr(options, name):
            raise UsageError(f"--{name} belongs to the table, and not to {options.words[0]}")
    if options.demo is not None and options.words and options.words[0] in _OF_REAL_FILES:
        raise UsageError(
            f"{options.words[0]} reads files of this machine, and backups of a simulated host are none: "
            "leave --demo out"
        )
    if options.json and options.columns is not None:
        raise UsageError("--columns and --json contradict each other: JSON always has every field")


def make_backend(options: argparse.Namespace, settings: "Settings", environ: Mapping[str, str]) -> "Backend":
    """Open the source that was asked for; connecting comes with the first reading.

    Raises:
        UsageError: an unknown scenario.
        MissingBindingError: libvirt's Python binding is not installed.
    """
    if options.demo is not None:
        from vmtop.backends.simulator.backend import SimulatorBackend
        from vmtop.backends.simulator.scenario import DEFAULT_SCENARIO

        return SimulatorBackend(
            scenario=options.demo or DEFAULT_SCENARIO,
            seed=1 if options.seed is None else options.seed,
            vms=options.vms,
            speed=1.0 if options.speed is None else options.speed,
            clock=SystemClock(),
        )
    from vmtop.backends.libvirt_read import LibvirtBackend

    chosen = options.connect or settings.connect
    uri = chosen or environ.get("LIBVIRT_DEFAULT_URI") or environ.get("VIRSH_DEFAULT_CONNECT_URI") or DEFAULT_URI
    return LibvirtBackend(uri)


def _with_options(settings: "Settings", options: argparse.Namespace) -> "Settings":
    from dataclasses import replace

    from vmtop.config import check_delay

    if options.delay is not None:
        check_delay(options.delay, "--delay")
    columns = None if options.columns is None else tuple(part.strip() for part in options.columns.split(","))
    given = {
        "delay": options.delay,
        "sort": options.sort,
        "columns": columns,
        "glyphs": options.glyphs,
        "theme": options.theme,
        "mouse": options.mouse,
        "readonly": options.readonly,
    }
    return replace(settings, **{name: value for name, value in given.items() if value is not None})


def _ui_state(settings: "Settings", options: argparse.Namespace) -> "UiState":
    from vmtop.viewmodel.columns import column
    from vmtop.viewmodel.ui_state import UiState
    from vmtop.viewmodel.vm_table import check_filter

    for name in (settings.sort, *settings.columns):
        column(name)
    try:
        check_filter(options.filter)
    except UsageError as error:
        raise UsageError(f"--filter: {error}") from None
    return UiState(
        sort_column=settings.sort,
        is_reversed=options.reverse,
        filter_text=options.filter,
        columns=settings.columns,
        delay_s=settings.delay,
        backup_folder=settings.backup_folder,
        has_unicode=_has_unicode(settings.glyphs),
    )


def _has_unicode(glyphs: str) -> bool:
    if glyphs != "auto":
        return glyphs == "unicode"
    from vmtop.tui.terminal import read_user_environ, wants_unicode

    return wants_unicode(read_user_environ(), sys.stdout.encoding)


def _run_batch(options: argparse.Namespace, state: "UiState", policy: "Policy", backend: "Backend") -> int:
    from vmtop.pipeline import Pipeline
    from vmtop.viewmodel.plain import format_csv, format_csv_header, format_json, format_text
    from vmtop.viewmodel.vm_table import Order, select_rows

    tune_garbage_collection()
    clock = SystemClock()
    has_matched = False

    def format_frame(frame: "Frame", is_first: bool) -> str:
        nonlocal has_matched
        has_matched = has_matched or not state.filter_text or bool(select_rows(frame, state, Order())[0])
        if options.json:
            return format_json(frame, state)
        if options.csv:
            return (format_csv_header(state) if is_first else "") + format_csv(frame, state)
        return ("" if is_first else "\n") + format_text(frame, state, width=_output_width())

    try:
        code = run_batch(
            Pipeline(backend, policy, clock),
            clock,
            format_frame,
            delay_s=state.delay_s,
            iterations=1 if options.once else options.iterations,
            output=sys.stdout,
            errors=sys.stderr,
        )
    finally:
        backend.close()
    if has_matched or code:
        return code
    _complain(f"no VM matches {state.filter_text!r}")
    return NOTHING_MATCHED


def tune_garbage_collection() -> None:
    """Look for garbage seldom, and not among what is imported: frames are freed when they are replaced, without it."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 1_000)
    gc.enable()


def _has_no_screen(environ: Mapping[str, str]) -> bool:
    """Say so on stderr, unless the output was redirected, which is a wish and no accident."""
    if not sys.stdout.isatty():
        return True
    from vmtop.tui.terminal import check_terminal, standard_streams

    reason = check_terminal(standard_streams(), environ)
    if reason is not None:
        _complain(f"{reason}, so this is the output of --batch")
    return reason is not None


def _output_width() -> int | None:
    """Columns of the terminal; None, for all there is, where the output goes to a file or program."""
    import shutil

    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _run_command(
    options: argparse.Namespace, settings: "Settings", policy: "Policy", environ: Mapping[str, str]
) -> int:
    from vmtop.command_line.parser import parse_words
    from vmtop.command_line.place import Console, Place
    from vmtop.command_line.run import run_command
    from vmtop.command_line.session import FrameReader, ReadOnlySource, Session
    from vmtop.pipeline import Pipeline

    check_options(options)
    wanted = parse_words(options.words)
    wanted.json = wanted.json or options.json
    clock = SystemClock()

    audit = make_audit(environ)

    def open_session() -> Session:
        backend = make_backend(options, settings, environ)
        reader = FrameReader(Pipeline(backend, policy, clock), clock, COMMAND_DELAY_S / (options.speed or 1.0))
        source: Source = ReadOnlySource(backend) if settings.readonly else backend
        runner = make_runner(source, policy, clock, reader.newest, audit=audit, ledger=make_ledger(backend, environ))
        return Session(source, reader, runner, policy)

    tune_garbage_collection()
    console = Console(
        sys.stdin,
        _standard_output(),
        sys.stderr,
        width=_output_width() or PIPE_WIDTH,
        has_unicode=_has_unicode(settings.glyphs),
    )
    return run_command(Place(console=console, audit=audit, clock=clock, open_session=open_session), wanted)


def make_audit(environ: Mapping[str, str]) -> "Audit":
    """Where everything that is done is written down."""
    from vmtop.actions.audit import Audit, audit_file, read_identity

    return Audit(audit_file(environ), read_identity(environ))


def make_ledger(backend: "Backend", environ: Mapping[str, str]) -> "Ledger":
    """Where it is kept what has to be seen to later; of a world that began with the program nothing outlives it."""
    from vmtop.actions.ledger import Ledger, ledger_folder

    return Ledger(ledger_folder(environ) if backend.began_s is None else None)


def make_runner(
    source: "Source",
    policy: "Policy",
    clock: "Clock",
    read_newest: "Callable[[], Newest | None]",
    *,
    audit: "Audit",
    ledger: "Ledger",
) -> "Runner":
    """Put together what changes VMs; nothing is opened before something is asked of it."""
    from vmtop.actions.recorder import Recorder
    from vmtop.actions.runner import Runner

    return Runner(source, audit, read_newest, policy, clock, ledger=ledger, on_backup=Recorder(clock))


def _read_recovery(backend: "Backend", folder: str, uuid: str) -> "Recovery":
    """The backups of a VM in a folder on its host.

    Raises:
        ControlError: the folder cannot be read, or is on another host.
    """
    from vmtop.derive.recovery import derive_points
    from vmtop.viewmodel.backups import Recovery

    found = backend.read_backups(folder, uuid)
    return Recovery(points=derive_points(found.backups), problems=found.problems)


def _verify_backups(backend: "Backend", folder: str, uuid: str, on_progress: "Callable[[str], None]") -> "Verification":
    """Have the backups of a VM in a folder on this machine checked.

    Raises:
        ControlError: the folder cannot be read, or is on another host.
    """
    from vmtop.actions.verification import verify_backups
    from vmtop.derive.recovery import derive_points

    points = derive_points(backend.read_backups(folder, uuid).backups)
    return verify_backups([point.backup for point in points], SystemClock().time, on_progress)


def _why_readonly(settings: "Settings", backend: "Backend") -> str:
    """Why nothing can be changed, in words; empty where something can."""
    if settings.readonly:
        return "read-only, as the option --readonly or the configuration wants it"
    if backend.capability.is_readonly:
        return f"read-only: {backend.uri} cannot be changed from here"
    return ""


def _run_screen(settings: "Settings", state: "UiState", policy: "Policy", backend: "Backend") -> int:
    import threading

    from vmtop.derive.series import History
    from vmtop.pipeline import Pipeline, Sampler
    from vmtop.tui.terminal import leave, prepare_terminal

    # The first reading overlaps with the import of the screen, which takes longer.
    clock = SystemClock()
    sampler = Sampler(Pipeline(backend, policy, clock, History()), clock, settings.delay)
    sampler.start()
    if isinstance(sys.__stderr__, TextIOWrapper):
        prepare_terminal(os.environ, sys.__stderr__)
    from vmtop.tui.app import VmtopApp

    tune_garbage_collection()
    why_readonly = _why_readonly(settings, backend)

    def read_newest() -> "Newest | None":
        from vmtop.actions.situation import Newest

        reading = sampler.latest()
        return None if reading.frame is None else Newest(reading.frame, reading.age_s(clock.monotonic()))

    def make_operator() -> "Runner":
        ledger = make_ledger(backend, os.environ)
        return make_runner(backend, policy, clock, read_newest, audit=make_audit(os.environ), ledger=ledger)

    app = VmtopApp(
        sampler,
        state=state,
        uri=backend.uri,
        make_operator=None if why_readonly else make_operator,
        why_readonly=why_readonly,
        capability=backend.capability,
        faults=backend.fault_control,
        read_audit=lambda: make_audit(os.environ).read(),
        read_storage=backend.read_storage,
        read_recovery=lambda folder, uuid: _read_recovery(backend, folder, uuid),
        verify_backups=None if backend.is_simulated else partial(_verify_backups, backend),
        is_simulated=backend.is_simulated,
        policy=policy,
        theme=_THEMES[settings.theme] or os.environ.get("TEXTUAL_THEME"),
        keymap=settings.keys,
        monotonic=clock.monotonic,
    )
    sampler.observe(app.follow)
    # A source that fails at once is one line and no screen, however long the import took. One that hangs gets its
    # screen, which tells what it waits for.
    has_answer = threading.Event()
    sampler.attach(has_answer.set)
    has_answer.wait(FIRST_READING_S)
    failure = sampler.latest().failure
    if failure is not None:
        sampler.stop()
        _complain(failure.text)
        return failure.exit_code
    app.run(mouse=settings.mouse)
    if app.left_undone:
        _complain(app.left_undone)
    code = 0
    if app.unanswered is not None:
        code = app.unanswered.exit_code
        _complain(app.unanswered.text)
    return leave(app, code)
