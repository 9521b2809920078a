"""Output without a screen: text, CSV or JSON lines, one block for each reading."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from vmtop.errors import OutputError
from vmtop.viewmodel.formats import safe_text

if TYPE_CHECKING:
    from vmtop.backends.base import Clock
    from vmtop.derive.frame import Frame
    from vmtop.pipeline import Pipeline

Format = Callable[["Frame", bool], str]
"""A frame, and whether it is the first -> the text to print, line end included."""


def write_output(output: TextIO, text: str) -> None:
    """Print, and find out at once whether that worked.

    Raises:
        BrokenPipeError: nobody reads it any more.
        OutputError: it cannot be written; says why.
    """
    try:
        output.write(text)
        output.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"the output cannot be written: {error.strerror}") from None


def run_batch(
    pipeline: "Pipeline",
    clock: "Clock",
    format_frame: Format,
    *,
    delay_s: float,
    iterations: int | None,
    output: TextIO,
    errors: TextIO,
) -> int:
    """Print one reading after the other.

    Args:
        pipeline: where readings come from.
        clock: paces the readings.
        format_frame: how a frame is printed.
        delay_s: from the start of one reading to the start of the next.
        iterations: how many frames to print; None goes on until it is interrupted.
        output: where frames go.
        errors: where it is said why a frame is missing.

    Returns:
        0, or the exit code of the failure that left us without a single frame.

    Raises:
        BrokenPipeError: nobody reads the output any more.
        OutputError: a frame cannot be written.
    """
    printed = 0
    while True:
        began_s = clock.monotonic()
        reading = pipeline.tick(delay_s)
        if reading.failure is not None:
            # One line each time: whoever reads the output later must see the gap and its reason.
            errors.write(f"vmtop: {safe_text(reading.failure.text)}\n")
            errors.flush()
            if reading.frame is None:
                return reading.failure.exit_code
        elif reading.frame is not None:
            write_output(output, format_frame(reading.frame, printed == 0))
            printed += 1
        if printed == iterations:
            return 0
        pause_s = delay_s if reading.failure is None else reading.failure.retry_s
        clock.sleep(max(0.0, began_s + pause_s - clock.monotonic()))
