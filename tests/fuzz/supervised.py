"""Run a kind in a process of its own, so that an input that never returns, or kills it, is one input that went wrong.

A signal handler runs between two steps of Python. A regular expression that takes minutes is one step: the process
then prints where it is and ends itself, and another continues after that input.
"""

from __future__ import annotations

import base64
import faulthandler
import json
import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.kinds import kinds
from tests.fuzz.running import MOST_WAITED_S, Fuzzed, fuzz, input_number

# Checked after so many inputs, because to arm it takes longer than to read most of them.
_INPUTS_PER_CHECK = 200
_STUCK_S = MOST_WAITED_S * 4
_NUMBER = struct.Struct("<q")


def supervised(name: str, numbers: range, seed: str) -> Fuzzed:
    """Read the inputs of these numbers in as many processes as it takes."""
    whole, first = Fuzzed(), numbers.start
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        at = Path(folder) / "number"
        while first < numbers.stop:
            at.write_bytes(_NUMBER.pack(first))
            argv = [sys.executable, "-m", __name__, name, str(first), str(numbers.stop), seed, folder]
            done = subprocess.run(argv, capture_output=True, text=True)
            part = Fuzzed()
            if done.returncode == 0:
                plain = json.loads(done.stdout)
                part = Fuzzed(plain["inputs"], plain["accepted"], [(base64.b64decode(i), w) for i, w in plain["wrong"]])
                first = numbers.stop
            else:
                number = _NUMBER.unpack(at.read_bytes())[0]
                data = input_number(kinds(Path(folder))[name], number, seed)
                part = Fuzzed(number + 1 - first, 0, [(data, f"ended the process ({done.returncode})\n{done.stderr}")])
                first = number + 1
            whole = Fuzzed(whole.inputs + part.inputs, whole.accepted + part.accepted, [*whole.wrong, *part.wrong])
    return whole


def main() -> None:
    """Read inputs, and print what came of them as one JSON document."""
    name, first, stop, seed, folder = sys.argv[1:]
    at = os.open(Path(folder) / "number", os.O_WRONLY)

    def before(number: int) -> None:
        os.pwrite(at, _NUMBER.pack(number), 0)
        if number % _INPUTS_PER_CHECK == 0:
            faulthandler.dump_traceback_later(_STUCK_S, exit=True)

    faulthandler.dump_traceback_later(_STUCK_S, exit=True)
    done = fuzz(kinds(Path(folder))[name], range(int(first), int(stop)), seed, before)
    faulthandler.cancel_dump_traceback_later()
    wrong = [(base64.b64encode(data).decode(), what) for data, what in done.wrong]
    print(json.dumps({"inputs": done.inputs, "accepted": done.accepted, "wrong": wrong}))


if __name__ == "__main__":
    main()
