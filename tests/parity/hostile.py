"""Files that try to run something, and small builders for damaged ones; used by the tests of every reader."""

import os
import pickle
import subprocess
import zipfile
from pathlib import Path


class Calls:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def payloads(witness: Path) -> dict[str, object]:
    """Objects whose unpickling would create `witness`, by how they would do it."""
    write = f"open({str(witness)!r}, 'w').write('x')"
    return {
        "os.system": Calls(os.system, f"touch {witness}"),
        "eval": Calls(eval, write),
        "exec": Calls(exec, write),
        "open": Calls(open, str(witness), "w"),
        "subprocess": Calls(subprocess.call, ["touch", str(witness)]),
        "getattr": Calls(getattr, Calls(__import__, "os"), "system"),
        "path": Calls(Path.touch, Calls(Path, str(witness))),
    }


def opcodes(witness: Path) -> dict[str, bytes]:
    """Hand-made pickles that the standard unpickler would run or choke on."""
    command = f"touch {witness}".encode()
    return {
        "inst": b"\x80\x02(S'" + command + b"'\nios\nsystem\n.",
        "obj": b"\x80\x02(cos\nsystem\nX" + len(command).to_bytes(4, "little") + command + b"o.",
        "stack_global": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c" + bytes([len(command)]) + command + b"\x85R.",
        "build": b"\x80\x02ccollections\nOrderedDict\n}X\x01\x00\x00\x00aK\x01sb.",
        "extension": b"\x80\x02\x82\x01.",
        "memo bomb": b"\x80\x02}r\xff\xff\xff\x7f.",
        "length bomb": b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fabc",
        "unhashable key": b"\x80\x02}]K\x01s.",
        "call of data": b"\x80\x02X\x01\x00\x00\x00a)R.",
        "unbalanced": b"\x80\x02t.",
        "empty": b"\x80\x02.",
        "no stop": b"\x80\x02}",
        "persistent": b"\x80\x02X\x01\x00\x00\x00aQ.",
    }


def torch_zip(path: Path, data: bytes, compression: int = zipfile.ZIP_STORED, **records: bytes) -> None:
    """A zip in torch's layout around any pickle; `records` are storages by key, written as `data/<key>`."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/version", b"3\n")
        for key, content in records.items():
            archive.writestr(f"archive/data/{key.removeprefix('k')}", content)


def dump(value: object, protocol: int = 2) -> bytes:
    """`pickle.dumps`, for the writing side of the tests."""
    return pickle.dumps(value, protocol)
