#!/usr/bin/env python3
"""Read a counterfoil transparency log, or a proof from one, and check all of it.

    read_log.py LOG --log VKEY [--witness VKEY ...]
    read_log.py --proof FILE --entry FILE --log VKEY [--witness VKEY ...]

Written from the specifications (RFC 6962, section 2.1; RFC 8032; C2SP signed-note, tlog-checkpoint, tlog-cosignature,
tlog-tiles and tlog-proof), not from counterfoil's code, and with nothing but Python's standard library. Witnesses
are checked where they sign with Ed25519.

Exit codes: 0 all of it holds, 1 something cannot be read, 10 something does not hold, 30 malformed.
"""

import argparse
import base64
import hashlib
import os
import sys


class Malformed(Exception):
    """Not what it should be by its form."""


class Rejected(Exception):
    """Of the right form, and wrong."""


# Ed25519 (RFC 8032, section 5.1), verification only. Points are (X, Y, Z, T) with x = X/Z, y = Y/Z, xy = T/Z.

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def times(n, p):
    q = (0, 1, 1, 0)
    while n > 0:
        if n & 1:
            q = add(q, p)
        p = add(p, p)
        n >>= 1
    return q


def same(p, q):
    return (p[0] * q[2] - q[0] * p[2]) % P == 0 and (p[1] * q[2] - q[1] * p[2]) % P == 0


def point(data):
    """A point from its 32 bytes (RFC 8032, 5.1.3), or None."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    if y >= P:
        return None
    x2 = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P != 0:
        x = x * ROOT % P
    if (x * x - x2) % P != 0 or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return (x, y, 1, x * y % P)


BASE = point((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


def ed25519(key, message, signature):
    """Whether a signature holds (RFC 8032, 5.1.7)."""
    if len(key) != 32 or len(signature) != 64:
        return False
    a, r = point(key), point(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= L:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % L
    return same(times(s, BASE), add(r, times(h, a)))


# The tree (RFC 6962, section 2.1)


def leaf(entry):
    return hashlib.sha256(b"\x00" + entry).digest()


def node(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(hashes):
    """MTH over leaf hashes, pair by pair: an odd one at the end goes up as it is."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    while len(hashes) > 1:
        pairs = [node(*hashes[i : i + 2]) for i in range(0, len(hashes) - 1, 2)]
        hashes = pairs + hashes[len(hashes) & ~1 :]
    return hashes[0]


def root_by_path(entry, index, size, path):
    """The root that an inclusion proof gives, by the recursion of RFC 6962, 2.1.1, from the top down."""
    if size == 1:
        if path:
            raise Rejected("the proof is too long")
        return leaf(entry)
    if not path:
        raise Rejected("the proof is too short")
    half = 1 << (size - 1).bit_length() - 1
    if index < half:
        return node(root_by_path(entry, index, half, path[:-1]), path[-1])
    return node(path[-1], root_by_path(entry, index - half, size - half, path[:-1]))


# Notes and checkpoints


def decode(text):
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise Malformed(f"`{text[:60]}` is not base64") from None


def vkey(text):
    """name, id, type and key of a verifier key (signed-note)."""
    try:
        name, key_id, rest = text.strip().split("+", 2)
    except ValueError:
        raise Malformed(f"`{text}` is no vkey") from None
    rest = decode(rest)
    expected = hashlib.sha256(name.encode() + b"\n" + rest).digest()[:4]
    if expected.hex() != key_id:
        raise Malformed(f"the id of `{name}` is not that of its key")
    return name, expected, rest[0], rest[1:]


def note(text):
    """The text of a note and its signatures: (name, id, bytes)."""
    body, found, lines = text.rpartition("\n\n")
    if not found or not lines.endswith("\n"):
        raise Malformed("not a signed note")
    signatures = []
    for line in lines[:-1].split("\n"):
        dash, name, data = (line.split(" ") + ["", ""])[:3]
        data = decode(data)
        if dash != "\u2014" or not name or len(data) < 5:
            raise Malformed(f"`{line[:60]}` is no signature line")
        signatures.append((name, data[:4], data[4:]))
    return body + "\n", signatures


def must_sign(key, text, signatures):
    """A known key must have signed, and every line that names it must hold."""
    name, key_id, kind, public = key
    lines = [data for by, line_id, data in signatures if (by, line_id) == (name, key_id)]
    if not lines:
        raise Rejected(f"there is no signature by `{name}`")
    for data in lines:
        if kind == 0x01:
            message = text.encode()
        elif kind == 0x04:
            time, data = int.from_bytes(data[:8], "big"), data[8:]
            message = f"cosignature/v1\ntime {time}\n{text}".encode()
        else:
            raise Malformed(f"`{name}` is of type {kind:#04x}, which is not read here")
        if not ed25519(public, message, data):
            raise Rejected(f"the signature by `{name}` does not hold")


def checkpoint(text, log, witnesses):
    """Size and root of a checkpoint that all these keys have signed."""
    text, signatures = note(text)
    lines = text.split("\n")
    if len(lines) < 4 or not lines[1].isdecimal() or str(int(lines[1])) != lines[1]:
        raise Malformed("not a checkpoint")
    if lines[0] != log[0]:
        raise Rejected(f"the checkpoint is of `{lines[0]}`")
    for key in [log, *witnesses]:
        must_sign(key, text, signatures)
    return int(lines[1]), decode(lines[2])


# Tiles


def tile_path(log, level, index, width):
    groups = [f"{index % 1000:03}"]
    while index := index // 1000:
        groups.append(f"x{index % 1000:03}")
    path = os.path.join(log, "tile", str(level), *reversed(groups))
    return path if width == 256 else os.path.join(path + ".p", str(width))


def read_tiles(log, level, count):
    """Each tile of a level in a tree that has `count` hashes there: its path, width and bytes."""
    for index in range((count + 255) // 256):
        width = min(count - index * 256, 256)
        path = tile_path(log, level, index, width)
        with open(path, "rb") as file:
            yield path, width, file.read()


def bundle(data, width, path):
    entries = []
    for _ in range(width):
        size = int.from_bytes(data[:2], "big")
        entry, data = data[2 : 2 + size], data[2 + size :]
        if len(entry) != size:
            raise Rejected(f"`{path}` is cut off")
        entries.append(entry)
    if data:
        raise Rejected(f"`{path}` holds more than {width} entries")
    return entries


def read_log(log, key, witnesses):
    with open(os.path.join(log, "checkpoint"), encoding="utf-8", newline="") as file:
        size, signed = checkpoint(file.read(), key, witnesses)
    hashes = []
    for path, width, data in read_tiles(log, "entries", size):
        hashes += map(leaf, bundle(data, width, path))
    if root(hashes) != signed:
        raise Rejected(f"the {size} entries do not give the signed root")
    # The tiles say the same, and a proof can be made of them.
    level = 0
    while hashes:
        for number, (path, width, data) in enumerate(read_tiles(log, level, len(hashes))):
            if data != b"".join(hashes[number * 256 : number * 256 + width]):
                raise Rejected(f"`{path}` is not made of what is below it")
        hashes = [root(hashes[i : i + 256]) for i in range(0, len(hashes) & ~255, 256)]
        level += 1
    print(f"{key[0]}: {size} entries, root {signed.hex()}, all of it holds")


def read_proof(path, entry, key, witnesses):
    with open(path, encoding="utf-8", newline="") as file:
        head, found, tail = file.read().partition("\n\n")
    lines = head.split("\n")
    if not found or lines.pop(0) != "c2sp.org/tlog-proof@v1":
        raise Malformed("not a tlog-proof")
    if lines and lines[0].startswith("extra "):
        lines.pop(0)
    word, _, index = (lines.pop(0) if lines else "").partition(" ")
    if word != "index" or not index.isdecimal():
        raise Malformed("the proof says no index")
    size, signed = checkpoint(tail, key, witnesses)
    with open(entry, "rb") as file:
        data = file.read()
    if int(index) >= size or root_by_path(data, int(index), size, list(map(decode, lines))) != signed:
        raise Rejected("the proof does not lead to the signed root")
    print(f"{key[0]}: this is entry {index} of {size}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("directory", metavar="LOG", nargs="?")
    parser.add_argument("--log", metavar="VKEY", required=True)
    parser.add_argument("--witness", metavar="VKEY", action="append", default=[])
    parser.add_argument("--proof", metavar="FILE")
    parser.add_argument("--entry", metavar="FILE")
    given = parser.parse_args()
    if (given.directory is None) == (given.proof is None) or (given.proof is None) != (given.entry is None):
        parser.error("give a LOG, or `--proof` and `--entry`")
    try:
        key, witnesses = vkey(given.log), [vkey(text) for text in given.witness]
        if given.proof:
            read_proof(given.proof, given.entry, key, witnesses)
        else:
            read_log(given.directory, key, witnesses)
    except Rejected as error:
        print(f"rejected: {error}", file=sys.stderr)
        return 10
    except (Malformed, UnicodeDecodeError) as error:
        print(f"malformed: {error}", file=sys.stderr)
        return 30
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
