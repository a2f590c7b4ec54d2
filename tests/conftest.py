"""Fixtures for tests that need a network in memory, and settings for all tests."""

import logging

import pytest
import trio
from hypothesis import HealthCheck, settings

from dhtnode.testing import MemoryNetwork

# No test may fail because the machine is busy.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture
def root_logger():
    """Yield the root logger without the handlers of pytest, and give them back."""
    logger = logging.getLogger()
    kept, level = logger.handlers[:], logger.level
    logger.handlers.clear()
    yield logger
    for handler in logger.handlers:
        handler.close()
    logger.handlers[:] = kept
    logger.setLevel(level)


@pytest.fixture
async def new_network(autojump_clock):
    """Return a function that makes networks from a seed; time is virtual.

    Afterwards the numbers of each network must add up, and no node may have met an error of its own.
    """
    assert trio.lowlevel.current_clock() is autojump_clock, "the test itself must ask for autojump_clock"
    networks = []

    def make(seed, kind=MemoryNetwork, **options):
        # Trio draws the order of tasks from a generator of its own; seeded, a failure can be replayed.
        trio._core._run._r.seed(seed)
        networks.append(kind(seed=seed, **options))
        return networks[-1]

    yield make
    for network in networks:
        network.statistics().check()
        assert network.totals()["internal errors"] == 0
