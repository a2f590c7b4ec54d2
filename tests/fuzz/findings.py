"""What a fuzzer has found: an exception, the inputs that lead to it, and a file that keeps both."""

import json
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32


class Broken(Exception):
    """Say which promise did not hold."""


class Stuck(BaseException):
    """Say that one input took seconds; no `except Exception` on the way may swallow it."""


def require(condition: object, promise: str) -> None:
    """Raise `Broken` naming the promise when it does not hold, also under `python -O`."""
    if not condition:
        raise Broken(promise)


@dataclass(frozen=True, slots=True)
class Finding:
    """Hold a failure: the inputs, the failing one last, that a fresh target needs to fail again."""

    target: str
    inputs: tuple[bytes, ...]
    signature: str
    traceback: str

    def save(self, directory: Path) -> Path:
        """Write a JSON file, named for the target and the signature, and return its path."""
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{self.target}-{crc32(self.signature.encode()):08x}.json"
        content = {
            "target": self.target,
            "signature": self.signature,
            "inputs": [data.hex() for data in self.inputs],
            "ascii": [repr(data)[2:-1] for data in self.inputs[-1:]],
            "traceback": self.traceback.splitlines(),
        }
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        return path


def finding_of(target: str, inputs: Sequence[bytes], error: BaseException) -> Finding:
    return Finding(target, tuple(inputs), signature_of(error), "".join(traceback.format_exception(error)))


def signature_of(error: BaseException) -> str:
    """Return what makes two failures the same: the first cause, its text if ours, and where it was raised."""
    while error.__cause__ is not None:
        error = error.__cause__
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {Path(frames[-1].filename).name}:{frames[-1].name}" if frames else ""
    text = f": {error}" if isinstance(error, Broken | AssertionError) else ""
    return f"{type(error).__name__}{text}{place}"


def load_inputs(path: Path) -> tuple[str, list[bytes]]:
    content = json.loads(path.read_text(encoding="utf-8"))
    return content["target"], [bytes.fromhex(text) for text in content["inputs"]]
