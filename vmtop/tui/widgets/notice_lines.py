"""What happened, in as many lines as its reason takes, above the keys; no lines while there is nothing to say."""

from textual.geometry import Size

from vmtop.tui.theme import Palette
from vmtop.tui.widgets.lines import TextLines
from vmtop.viewmodel.status import Notice, build_notice, notice_rows


class NoticeLines(TextLines):
    """Is as high as what it says."""

    def show_notice(self, notice: Notice | None, palette: Palette, screen: Size, *, has_unicode: bool) -> int:
        """Say it on a screen of this size, or say nothing; gives the number of lines."""
        lines = (
            ()
            if notice is None
            else build_notice(notice, width=screen.width, rows=notice_rows(screen.height), has_unicode=has_unicode)
        )
        self.display = bool(lines)
        self.styles.height = max(1, len(lines))
        self.show_lines(lines, palette)
        return len(lines)
