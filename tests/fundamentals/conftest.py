"""The tutorial runs on the same real workers as the process tests."""

from tests.process.conftest import shared_yard, sim, sim_server, yard

__all__ = ["shared_yard", "sim", "sim_server", "yard"]
