"""A simulator of MEXC spot: its wire protocol, its rules, and on demand its misbehaviour, on loopback.

It stands alone: nothing of Claire but the model and the wire classes is needed. See docs/mexc-sim.md.
"""

from claire.mexcsim.config import SimConfig, StreamRules
from claire.mexcsim.exchange import VenueHabits
from claire.mexcsim.flow import FlowSettings
from claire.mexcsim.limits import Limits
from claire.mexcsim.log import Entry, SimLog, What
from claire.mexcsim.server import Simulator

__all__ = ["Entry", "FlowSettings", "Limits", "SimConfig", "SimLog", "Simulator", "StreamRules", "VenueHabits", "What"]
