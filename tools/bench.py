"""`./dev bench NAME ARGS`: run bench/NAME.py with ARGS; without a name, list what there is."""

import os
import sys

from tools.programs import CHECKOUT, choose

if __name__ == "__main__":
    program = choose(CHECKOUT / "bench", sys.argv[1:], "bench")
    os.execv(sys.executable, [sys.executable, str(program), *sys.argv[2:]])
