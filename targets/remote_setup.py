"""Makes a private environment on a device: runs there by itself, on Python 3.9 and later.

Like the runner it reads one job as a line of JSON, answers in framed lines, and ends with its
input: what it started ends with it, and a half-made environment is removed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from typing import Any

LAST_LINES = 200


class Failed(Exception):
    """What the client has to be told."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.fix = fix


class Setup:
    """One environment in the making."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        self.venv = job["venv"]
        self.python = os.path.join(self.venv, "bin", "python")
        self.ready = os.path.join(self.venv, job["ready"])
        self.is_new = not os.path.exists(self.ready)
        self.child: Any = None
        self.ended = False

    def send(self, frame: dict[str, Any]) -> None:
        """One frame to the client."""
        sys.stdout.write("@edgekit:%s %s\n" % (self.job["token"], json.dumps(frame)))
        sys.stdout.flush()

    def run(self) -> None:
        """Makes the environment, installs, imports what was installed, and marks it as ready."""
        if self.is_new:
            shutil.rmtree(self.venv, ignore_errors=True)
            os.makedirs(os.path.dirname(self.venv), exist_ok=True)
            self.step([sys.executable, "-m", "venv", self.venv])
        self.install()
        self.step([self.python, "-c", "import " + ", ".join(self.job["modules"])])
        versions = self.versions()
        with open(self.ready, "w") as file:
            json.dump({"packages": self.job["packages"], "versions": versions}, file)
        self.send({"frame": "ready", "versions": versions})

    def install(self) -> None:
        """Has pip work, during which an environment that worked before is not marked as ready."""
        pip = [self.python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
        mark = ""
        if not self.is_new:
            with open(self.ready) as file:
                mark = file.read()
            os.remove(self.ready)
        try:
            self.step([*pip, *self.job["packages"]])
        except Failed:
            if mark and self.child.returncode > 0:  # not killed: it took its own steps back
                with open(self.ready, "w") as file:
                    file.write(mark)
            raise

    def step(self, command: list[str]) -> list[str]:
        """Runs a command, hands on what it says, and fails with its last line."""
        self.child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        said: list[str] = []
        for line in self.child.stdout:
            text = line.decode(errors="replace").strip()
            if text:
                said = [*said[-LAST_LINES:], text]
                self.send({"frame": "said", "text": text[:500]})
        if self.child.wait():
            raise explained(command, said)
        return said

    def versions(self) -> dict[str, str]:
        """What the environment has."""
        code = (
            "import json; from importlib import metadata;"
            "print(json.dumps({d.metadata['Name']: d.version for d in metadata.distributions()}))"
        )
        found: dict[str, str] = json.loads(self.step([self.python, "-c", code])[-1])
        return found

    def undo(self) -> None:
        """Ends what runs and removes what is half made; an environment that worked before stays."""
        if self.child is not None and self.child.poll() is None:
            os.killpg(self.child.pid, signal.SIGKILL)
        if self.is_new:
            shutil.rmtree(self.venv, ignore_errors=True)

    def end_with_client(self) -> None:
        """Waits for the end of the input, and ends everything then."""
        while os.read(0, 4096):
            pass
        if not self.ended:
            self.undo()
            os._exit(3)


def explained(command: list[str], said: list[str]) -> Failed:
    """Why a command failed: pip and venv say it in their last lines."""
    text = "\n".join(said)
    if "ensurepip" in text:
        return Failed("Python there cannot make environments", "sudo apt install python3-venv")
    if "No space left" in text:
        return Failed("no space is left there", "free some space there")
    errors = [line for line in said if line.startswith("ERROR:")] or said[-1:] or ["no reason"]
    what = "pip" if "pip" in command else "venv" if "venv" in command else "importing it"
    fix = "see that the device reaches a package index" if what == "pip" else "look at it by hand"
    return Failed("%s failed there: %s" % (what, errors[-1][:300]), fix)


def main() -> None:
    """Does one job."""
    setup = Setup(json.loads(os.fdopen(os.dup(0), "rb", buffering=0).readline()))
    threading.Thread(target=setup.end_with_client, daemon=True).start()
    sys.stdout.write("\n")  # ends a line that a login shell may have left open
    try:
        setup.run()
    except (Failed, OSError) as error:
        setup.undo()
        fix = error.fix if isinstance(error, Failed) else "check that path on the device"
        body = {"about": "device", "message": str(error), "fix": fix}
        setup.send({"error": body})
    setup.ended = True
    setup.send({"done": True})


if __name__ == "__main__":
    main()
