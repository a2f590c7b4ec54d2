"""What a node without traffic does: steps of tasks per hour, counted in virtual time."""

from collections import Counter

import trio


class Steps(trio.abc.Instrument):
    """The steps that tasks take, by the name of the task."""

    def __init__(self):
        self.counts = Counter()

    def before_task_step(self, task):
        self.counts[task.name.partition(" ")[0]] += 1


async def steps_per_hour(node):
    await node.wait_joined()
    await trio.sleep(1800)
    steps = Steps()
    trio.lowlevel.add_instrument(steps)
    await trio.sleep(3600)
    trio.lowlevel.remove_instrument(steps)
    return steps.counts


async def test_node_without_contacts_looks_for_a_network_and_rests(autojump_clock, new_network):
    async with new_network(1).open_node(0) as node:
        steps = await steps_per_hour(node)
    # It looks every 5 seconds whether a node has turned up.
    assert 720 <= steps["join"] <= 850
    assert steps.total() <= 1200
    assert steps["deadlines"] == 0


async def test_node_that_is_asked_nothing_rests_for_half_minutes(autojump_clock, new_network):
    async with new_network(1).open_nodes(10) as nodes:
        steps = await steps_per_hour(nodes[3])
    assert all(1000 <= steps[task] <= 1300 for task in ("join", "refresh", "expire"))
    # A few pings and lookups of each: their deadlines move without a step.
    assert steps["receive"] <= 1500
    assert steps["deadlines"] <= 200
