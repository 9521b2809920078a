"""Takes over what other runs of vmtop left when they were ended or killed."""

from collections.abc import Callable

from vmtop.actions.desk import Desk
from vmtop.actions.ledger import Entry, Found
from vmtop.derive.frame import Frame
from vmtop.errors import AuditError

LOOK_S = 30.0
"""Between two looks: another vmtop may end at any time."""


class Heir:
    """Looks into the ledger from time to time, once it was told to."""

    def __init__(self, desk: Desk, take_over: Callable[[Entry], None]) -> None:
        """`take_over`: called for each entry that nobody sees to, on a thread."""
        self._desk = desk
        self._take_over = take_over
        self._is_wanted: Callable[[Entry], bool] | None = None
        self._look_s = 0.0
        self._seen: set[str] = set()
        """Ids of entries that were taken over: what failed once is left to the next run."""
        self.problems: tuple[str, ...] = ()
        """Why not all of it can be seen to, a sentence for each reason; foreign text."""

    def begin(self) -> None:
        """From the next frame on, take over what concerns any VM of this source."""
        self._is_wanted = self._wants(None)

    def look(self, vm_uuid: str) -> None:
        """Take over at once what concerns one VM; reads files."""
        self._look(self._wants(vm_uuid))

    def _wants(self, vm_uuid: str | None) -> Callable[[Entry], bool]:
        uri = self._desk.source.uri
        return lambda entry: entry.uri == uri and vm_uuid in {None, entry.uuid} and entry.id not in self._seen

    def leave(self, entry: Entry) -> None:
        """Too little is known for this one yet: look again."""
        self._seen.discard(entry.id)
        self._desk.ledger.release(entry.id)

    def follow(self, frame: Frame) -> None:
        """Look when it is time."""
        is_wanted, now_s = self._is_wanted, frame.sample.monotonic_s
        if is_wanted is not None and now_s >= self._look_s:
            self._look_s = now_s + LOOK_S
            self._desk.spawn(lambda: self._look(is_wanted))

    def _look(self, is_wanted: Callable[[Entry], bool]) -> None:
        try:
            found = self._desk.ledger.adopt(is_wanted)
        except AuditError as error:
            found = Found((), (str(error),))
        problems = [*found.problems]
        for entry in found.entries:
            self._seen.add(entry.id)
            try:
                self._take_over(entry)
            except AuditError as error:
                problems.append(str(error))
        self.problems = tuple(problems)
