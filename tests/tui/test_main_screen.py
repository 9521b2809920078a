"""Keys and mouse on the main screen, from the key to what is seen."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.builders import make_frame, make_guest, make_vm, vm_uuid
from tests.tui.screen import Stage
from vmtop.derive.frame import Frame
from vmtop.model.failure import Failure
from vmtop.tui.app import VmtopApp
from vmtop.tui.messages import Noticed
from vmtop.tui.screens.help import HelpScreen
from vmtop.tui.widgets.prompt import Prompt
from vmtop.tui.widgets.vm_table import VmTable
from vmtop.units import GIB
from vmtop.viewmodel.status import Notice
from vmtop.viewmodel.tone import Tone
from vmtop.viewmodel.ui_state import UiState

NAMES = ("alpha", "beta", "gamma", "delta")


def make_named(used_gib: dict[str, float], *, at_s: float = 5.0) -> Frame:
    """VMs of 8 GiB that use so much."""
    return make_frame(
        [
            make_vm(
                uuid=vm_uuid(sum(name.encode())),
                name=name,
                maximum_bytes=8 * GIB,
                balloon_bytes=8 * GIB,
                guest=make_guest(usable_bytes=int((8 - used) * GIB), free_bytes=GIB // 8, cache_bytes=GIB // 8),
            )
            for name, used in used_gib.items()
        ],
        at_s=at_s,
    )


FOUR = make_named({"alpha": 1, "beta": 4, "gamma": 3, "delta": 2})


def test_the_first_picture_shows_what_is_read_already(monkeypatch: pytest.MonkeyPatch) -> None:
    stage, pictures = Stage(FOUR), list[str]()
    draw = VmtopApp._display

    def watch(app: VmtopApp, screen: Any, renderable: Any) -> None:
        if renderable is not None:
            pictures.append("\n".join(stage.lines))
        draw(app, screen, renderable)

    async def scene(stage: Stage) -> None:
        assert [name for name in NAMES if name not in pictures[0]] == []
        assert pictures[0] == "\n".join(stage.lines)

    monkeypatch.setattr(VmtopApp, "_display", watch)
    stage.play(scene)


def test_the_largest_user_stands_first() -> None:
    async def scene(stage: Stage) -> None:
        assert stage.names() == ["beta", "gamma", "delta", "alpha"]

    Stage(FOUR).play(scene)


def test_n_sorts_by_name_and_r_reverses() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("N")
        assert stage.names() == ["alpha", "beta", "delta", "gamma"]
        await stage.press("r")
        assert stage.names() == ["gamma", "delta", "beta", "alpha"]
        await stage.press("M")
        assert stage.names() == ["beta", "gamma", "delta", "alpha"]

    Stage(FOUR).play(scene)


def test_angle_brackets_walk_through_the_columns_as_they_stand_on_the_screen() -> None:
    async def scene(stage: Stage) -> None:
        table = stage.app.screen.query_one(VmTable)
        assert table._table is not None
        ids = [column.id for column in table._table.columns[: table._table.fitting]]
        start = ids.index("used")
        await stage.press("greater_than_sign")
        assert stage.app._state.sort_column == ids[start + 1]
        await stage.press("less_than_sign", "less_than_sign")
        assert stage.app._state.sort_column == ids[start - 1]
        await stage.press(*["greater_than_sign"] * len(ids))
        assert stage.app._state.sort_column == ids[start - 1]

    Stage(FOUR).play(scene)


def test_two_keys_in_a_row_both_count() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("r", "r", "r")
        assert stage.app._state.is_reversed

    Stage(FOUR).play(scene)


def test_a_click_on_a_head_sorts_and_a_second_one_reverses() -> None:
    async def scene(stage: Stage) -> None:
        await stage.pilot.click(VmTable, offset=(1, 0))
        await stage.pilot.pause()
        assert stage.names() == ["alpha", "beta", "delta", "gamma"]
        await stage.pilot.click(VmTable, offset=(1, 0))
        await stage.pilot.pause()
        assert stage.names() == ["gamma", "delta", "beta", "alpha"]

    Stage(FOUR).play(scene)


def test_a_click_on_a_row_moves_the_cursor_there() -> None:
    async def scene(stage: Stage) -> None:
        await stage.pilot.click(VmTable, offset=(30, 3))
        await stage.pilot.pause()
        vm = stage.app.screen.query_one(VmTable).cursor_vm
        assert vm is not None
        assert vm.name == "delta"
        assert stage.app._state.cursor_uuid == vm.uuid

    Stage(FOUR).play(scene)


def test_the_cursor_follows_its_vm_when_rows_move() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("down")
        await stage.publish(make_named({"alpha": 1, "beta": 4, "gamma": 0.5, "delta": 2}, at_s=7))
        assert stage.names() == ["beta", "delta", "alpha", "gamma"]
        vm = stage.app.screen.query_one(VmTable).cursor_vm
        assert vm is not None
        assert vm.name == "gamma"

    Stage(FOUR).play(scene)


def test_the_cursor_waits_in_its_place_while_its_vm_is_gone() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("down", "down")
        await stage.publish(make_named({"alpha": 1, "beta": 4, "gamma": 3}, at_s=7))
        table = stage.app.screen.query_one(VmTable)
        assert table.cursor_vm is not None
        assert table.cursor_vm.name == "alpha"
        await stage.publish(make_named({"alpha": 1, "beta": 4, "gamma": 3, "delta": 2}, at_s=9))
        assert table.cursor_vm.name == "delta"

    Stage(FOUR).play(scene)


def test_up_from_the_first_row_goes_to_the_host_and_down_comes_back() -> None:
    async def scene(stage: Stage) -> None:
        before = stage.lines
        await stage.press("up")
        assert stage.app.screen._is_on_header  # type: ignore[attr-defined] # of MainScreen
        await stage.press("down")
        assert not stage.app.screen._is_on_header  # type: ignore[attr-defined] # of MainScreen
        assert stage.lines == before

    Stage(FOUR).play(scene)


def test_a_filter_works_while_it_is_typed_and_escape_clears_it() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("slash", "e", "l")
        assert stage.names() == ["delta"]
        await stage.press("backspace")
        assert stage.names() == ["beta", "delta"]
        await stage.press("enter")
        assert not stage.app.screen.query_one(Prompt).display
        assert "/e" in stage.lines[-1]
        await stage.press("escape")
        assert len(stage.names()) == 4

    Stage(FOUR).play(scene)


def test_escape_in_the_prompt_shows_all_vms_again() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("slash", "x")
        assert stage.names() == []
        await stage.press("escape")
        assert len(stage.names()) == 4
        assert not stage.app.screen.query_one(Prompt).display

    Stage(FOUR).play(scene)


def test_letters_that_are_keys_elsewhere_are_text_in_the_prompt() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("slash", *"qhdrMNSZ", "question_mark", "slash")
        assert stage.app._state.filter_text == "qhdrMNSZ?/"
        assert stage.app.is_running

    Stage(FOUR).play(scene)


def test_a_bad_regular_expression_is_said_and_hides_nothing() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("slash", "slash", "left_parenthesis")
        assert len(stage.names()) == 4
        assert stage.app.screen.query_one(Prompt)._complaint
        assert stage.app.screen.query_one(Prompt)._complaint[:20] in stage.lines[-1]

    Stage(FOUR).play(scene)


def test_rows_can_be_moved_while_a_filter_is_typed() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("slash", "down")
        vm = stage.app.screen.query_one(VmTable).cursor_vm
        assert vm is not None
        assert vm.name == "gamma"
        assert stage.app.screen.query_one(Prompt).display

    Stage(FOUR).play(scene)


def test_a_new_delay_reaches_the_source() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("d", *"0.5", "enter")
        assert stage.source.delays == [0.5]
        assert "every 0.5 s" in stage.lines[-1]
        await stage.press("d")
        assert "now 0.5 s" in stage.lines[-1]
        await stage.press("enter")
        assert stage.source.delays == [0.5], "no answer changes nothing"

    Stage(FOUR).play(scene)


@pytest.mark.parametrize("text", ["0", "x", "-1", "nan", "1e9"])
def test_a_delay_that_makes_no_sense_is_refused_and_can_be_put_right(text: str) -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("d", "ctrl+u", *text, "enter")
        assert stage.source.delays == []
        prompt = stage.app.screen.query_one(Prompt)
        assert prompt.display
        assert "delay" in prompt._complaint
        assert len(stage.names()) == 4
        await stage.press("ctrl+u", "3", "enter")
        assert stage.source.delays == [3.0]

    Stage(FOUR).play(scene)


def test_pause_holds_the_view_while_sampling_goes_on() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("Z")
        later = make_named({"alpha": 6, "beta": 4, "gamma": 3, "delta": 2}, at_s=17)
        stage.clock.now_s += 12
        await stage.publish(later)
        assert stage.names() == ["beta", "gamma", "delta", "alpha"]
        assert "PAUSED 12 s" in stage.lines[-1]
        await stage.press("Z")
        assert stage.names() == ["alpha", "beta", "gamma", "delta"]
        assert "PAUSED" not in stage.lines[-1]

    Stage(FOUR).play(scene)


def test_old_figures_are_dimmed_and_their_age_is_said_though_nothing_is_read() -> None:
    async def scene(stage: Stage) -> None:
        table = stage.app.screen.query_one(VmTable)
        assert not table._is_stale
        await stage.pass_time(60)
        assert table._is_stale
        assert "60 s" in "\n".join(stage.lines) or "1 min" in "\n".join(stage.lines)
        await stage.publish(make_named({"alpha": 1}, at_s=65))
        assert not table._is_stale

    Stage(FOUR).play(scene)


def test_a_failure_is_named_and_the_last_figures_stay() -> None:
    async def scene(stage: Stage) -> None:
        failure = Failure(
            text="libvirtd does not answer",
            since_monotonic_s=stage.clock.now_s,
            attempts=3,
            retry_s=8.0,
            exit_code=3,
        )
        stage.clock.now_s += 30
        await stage.publish(failure=failure)
        assert "libvirtd does not answer" in "\n".join(stage.lines)
        assert len(stage.names()) == 4

    Stage(FOUR).play(scene)


def test_a_crash_of_the_source_ends_the_app_with_its_error() -> None:
    async def scene(stage: Stage) -> None:
        def crash() -> None:
            raise RuntimeError("sampler died")

        stage.source.latest = crash  # type: ignore[assignment, method-assign] # what Sampler.latest does then
        await stage.publish()

    with pytest.raises(RuntimeError, match="sampler died"):
        Stage(FOUR).play(scene)


def test_many_readings_from_another_thread_are_shown_at_last() -> None:
    async def scene(stage: Stage) -> None:
        def read() -> None:
            for number in range(200):
                stage.source.publish(make_named({"alpha": 1 + number / 100}, at_s=7 + number))
            stage.source.publish(make_named({"omega": 2}, at_s=300))

        await asyncio.to_thread(read)
        await stage.pilot.pause()
        assert stage.names() == ["omega"]

    Stage(FOUR).play(scene)


def test_a_reading_after_the_end_is_ignored() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("q")

    stage = Stage(FOUR)
    stage.play(scene)
    stage.source.publish(make_named({"omega": 2}))
    assert stage.source.is_stopped


def test_help_lists_every_column_and_escape_leaves_it() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("question_mark")
        assert isinstance(stage.app.screen, HelpScreen)
        seen = "\n".join(stage.lines)
        for _ in range(20):
            await stage.press("pagedown")
            seen += "\n".join(stage.lines)
        for title in ("USED", "NAME", "Ctrl+C"):
            assert title in seen
        await stage.press("escape")
        assert stage.names() == ["beta", "gamma", "delta", "alpha"]

    Stage(FOUR).play(scene)


@pytest.mark.parametrize("key", ["q", "ctrl+c", "f10"])
def test_each_of_the_keys_to_quit_quits(key: str) -> None:
    async def scene(stage: Stage) -> None:
        await stage.press(key)
        assert stage.app.return_code == 0
        assert not stage.app.is_running

    stage = Stage(FOUR)
    stage.play(scene)
    assert stage.source.is_stopped


def test_ctrl_c_quits_whatever_keys_a_person_chose() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("ctrl+c")
        assert not stage.app.is_running

    Stage(FOUR, keymap={"quit": "q,f10"}).play(scene)


def test_ctrl_c_quits_while_a_filter_is_typed() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("slash", "a", "ctrl+c")
        assert not stage.app.is_running

    Stage(FOUR).play(scene)


def test_keys_can_be_bound_to_other_keys() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("r")
        assert not stage.app._state.is_reversed
        await stage.press("o")
        assert stage.app._state.is_reversed

    Stage(FOUR, keymap={"reverse": "o"}).play(scene)


def test_without_a_first_reading_the_screen_says_what_it_waits_for() -> None:
    async def scene(stage: Stage) -> None:
        assert "qemu:///system" in "\n".join(stage.lines)
        await stage.press("down", "enter", "slash", "a", "enter", "r", "greater_than_sign", "end", "Z", "Z")
        await stage.publish(FOUR)
        assert len(stage.names()) == 4 - len([name for name in NAMES if "a" not in name])

    Stage(None).play(scene)


def test_a_simulated_host_is_called_so_before_the_first_reading_and_in_the_help() -> None:
    async def scene(stage: Stage) -> None:
        assert stage.lines[0].startswith(" SIMULATED ")
        await stage.press("enter", "up", "enter")
        assert stage.lines[0].startswith(" SIMULATED ")
        await stage.press("question_mark", "end")
        assert stage.lines[0].startswith(" SIMULATED ")

    Stage(None, is_simulated=True).play(scene)


def test_a_real_host_is_never_called_simulated() -> None:
    async def scene(stage: Stage) -> None:
        for keys in ((), ("question_mark",)):
            await stage.press(*keys)
            assert "SIMULATED" not in "\n".join(stage.lines)

    Stage(None).play(scene)
    Stage(FOUR, is_simulated=False).play(scene)


def cursor_names(stage: Stage) -> Iterator[str]:
    vm = stage.app.screen.query_one(VmTable).cursor_vm
    if vm is not None:
        yield vm.name


def test_home_end_and_pages_reach_both_ends() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("end")
        assert list(cursor_names(stage)) == ["vm-0100"]
        assert "100" in stage.line_with("/100")
        await stage.press("pageup", "home")
        assert list(cursor_names(stage)) == ["vm-0001"]
        await stage.press("pagedown")
        assert "vm-0001" not in stage.names()

    Stage(make_frame(100), size=(80, 24), state=UiState(sort_column="name")).play(scene)


REASON = "web-1: balloon: refused: no balloon driver was seen in the guest: it never sent figures, and would not follow"


@pytest.mark.parametrize("size", [(80, 24), (60, 15)])
def test_what_happened_is_said_whole_above_the_keys_which_stay(size: tuple[int, int]) -> None:
    async def scene(stage: Stage) -> None:
        keys = stage.lines[-1]
        stage.app.post_message(Noticed(Notice(REASON, Tone.WARN)))
        await stage.wait_for_text("refused")
        assert " ".join(" ".join(stage.lines[-3:-1]).split()) == REASON
        assert stage.lines[-1] == keys
        await stage.press("down")
        assert "refused" not in "\n".join(stage.lines)

    Stage(make_frame(3), size=size).play(scene)


def test_a_filter_that_cannot_be_used_is_explained_above_the_keys() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("slash", *"/(web", "enter")
        assert "all VMs are shown: the regular expression cannot be used: a ( is never closed" in stage.lines[-3]
        assert "at character 4 of" in stage.lines[-3]
        assert stage.lines[-1].startswith("//(web")
        assert "? help" in stage.lines[-1]

    Stage(make_frame(3), size=(100, 24)).play(scene)


def test_the_help_begins_with_the_keys_of_the_page_one_is_on() -> None:
    async def scene(stage: Stage) -> None:
        await stage.press("j", "question_mark")
        text = "\n".join(stage.lines)
        assert (
            text.index("Keys here") < text.index("cancel the job under the cursor") < text.index("Keys of other pages")
        )

    Stage(make_frame(3), size=(100, 60)).play(scene)
