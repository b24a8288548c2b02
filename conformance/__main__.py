"""Start a simulator here, and ccxt's clients in their own environment; tell whether they agree.

`./dev conformance` calls this with the interpreter of that environment. Exit 0: every behaviour passed, 1: one did not,
2: wrong usage.
"""

import asyncio
import sys
from pathlib import Path
from typing import Final

from claire.mexcsim import FlowSettings, SimConfig, Simulator

CLIENTS: Final = Path(__file__).with_name("clients.py")
KEY, OTHER_KEY, SECRET = "conformance", "conformance-2", "made-up-for-loopback"  # pragma: allowlist secret
DEADLINE_S: Final = 600


async def main(interpreter: str, names: list[str]) -> int:
    """Serve until the clients are done; return their exit code."""
    config = SimConfig(seed=11, flow=FlowSettings(events_per_s=20, burst_every_s=0))
    async with Simulator(config) as sim:
        for key in (KEY, OTHER_KEY):
            sim.add_account(key, SECRET, balances={"USDT": 50_000, "BTC": 2, "MX": 100})
        clients = await asyncio.create_subprocess_exec(
            interpreter, str(CLIENTS), sim.rest_url, sim.ws_url, KEY, OTHER_KEY, SECRET, *names
        )
        try:
            return await asyncio.wait_for(clients.wait(), DEADLINE_S)
        except TimeoutError:
            clients.kill()
            await clients.wait()
            print(f"conformance: not done after {DEADLINE_S} s", file=sys.stderr)
            return 1


if __name__ == "__main__":
    if len(sys.argv) < 2:
        print("conformance: run it as ./dev conformance [NAME ...]", file=sys.stderr)
        sys.exit(2)
    sys.exit(asyncio.run(main(sys.argv[1], sys.argv[2:])))
