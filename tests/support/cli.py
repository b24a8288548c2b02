"""The program from outside, in a folder of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import IO, Any


class Claire:
    """Starts `claire` with none of this machine's settings."""

    def __init__(self, folder: Path):
        self.folder = folder
        ours = ("CLAIRE_", "WS_", "MEXC_", "SECRETS_")
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith(ours)}

    def start(
        self, *arguments: str, out: IO[str] | int = subprocess.PIPE, errors: IO[str] | int = subprocess.PIPE
    ) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "claire.cli.main", *arguments]
        return subprocess.Popen(command, cwd=self.folder, env=self.environ, stdout=out, stderr=errors, text=True)

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    def json(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        code, out, err = self(*arguments, "--json")
        assert out.count("\n") == 1, err
        return code, json.loads(out)
