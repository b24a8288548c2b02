"""Make the classes of `claire.wire` from proto/: `./dev python -m tools.generate_wire`; `--check` only compares.

protoc is the one inside grpcio-tools, whose version the locks hold, so that everyone makes the same files.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

CHECKOUT: Final = Path(__file__).resolve().parent.parent
PROTO: Final = CHECKOUT / "proto"
SCHEMA: Final = "mexc/spot/v3"
WIRE: Final = CHECKOUT / "src" / "claire" / "wire"
MADE: Final = ("*_pb2.py", "*_pb2.pyi")


def generate(folder: Path) -> dict[str, str]:
    """Run protoc into an empty folder and return what belongs into src/claire/wire, by file name.

    Raises:
        RuntimeError: protoc did not accept the schema; the message holds what it said.
    """
    schemas = sorted(str(path.relative_to(PROTO)) for path in (PROTO / SCHEMA).glob("*.proto"))
    flags = [f"--proto_path={PROTO}", f"--python_out={folder}", f"--pyi_out={folder}"]
    command = [sys.executable, "-m", "grpc_tools.protoc", *flags, *schemas]
    done = subprocess.run(command, cwd=PROTO, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"protoc does not accept proto/{SCHEMA}:\n{done.stdout}{done.stderr}")
    package = re.escape(SCHEMA.replace("/", "."))
    made = sorted(path for pattern in MADE for path in (folder / SCHEMA).glob(pattern))
    # protoc imports by the schema's own path; here the files are modules of claire.wire.
    return {
        path.name: re.sub(rf"^from {package} import", "from claire.wire import", path.read_text("utf-8"), flags=re.M)
        for path in made
    }


def differences(made: dict[str, str]) -> list[str]:
    """Name the files of src/claire/wire that are missing, left over, or not what `made` holds."""
    there = {path.name: path.read_text("utf-8") for pattern in MADE for path in WIRE.glob(pattern)}
    return sorted(name for name in {*made, *there} if made.get(name) != there.get(name))


def main(arguments: list[str]) -> int:
    """Write the classes, or with ``--check`` say which would change; return the exit code."""
    if arguments not in ([], ["--check"]):
        print("usage: python -m tools.generate_wire [--check]", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        made = generate(Path(folder))
    changed = differences(made)
    if arguments:
        if changed:
            print(
                f"src/claire/wire: {', '.join(changed)}: not what proto/ says."
                " Make them again: ./dev python -m tools.generate_wire"
            )
            return 1
        print(f"{len(made)} files")
        return 0
    for name in changed:
        if name in made:
            (WIRE / name).write_text(made[name], "utf-8")
        else:
            (WIRE / name).unlink()
    print(f"src/claire/wire: {', '.join(changed) or 'nothing'} changed")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
