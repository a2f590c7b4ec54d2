"""How far work has come, told on stderr."""

import trio

from crawler.core.progress import shown_progress, timed


async def test_work_without_counts_is_shown_with_its_time(autojump_clock, capsys):
    async with shown_progress(timed("counting"), shows=True):
        await trio.sleep(25)
    async with shown_progress(timed("hiding"), shows=False):
        await trio.sleep(25)
    assert capsys.readouterr() == ("", "counting, 10 s so far\ncounting, 20 s so far\n")
