"""C2SP tlog-cosignature with ML-DSA-44, written from the specification and with none of the tool's code.

    cosign.py sign NAME SEED_HEX TIME <text     the verifier key, and the signature line
    cosign.py verify VKEY LINE <text            the time of a line that holds
"""

import base64
import hashlib
import os
import struct
import sys

from dilithium_py.ml_dsa import ML_DSA_44


def opaque(data):
    return struct.pack(">B", len(data)) + data


def message(name, time, text):
    origin, size, root, *_ = text.split(b"\n")
    return (
        b"subtree/v1\n\0"
        + opaque(name)
        + struct.pack(">Q", time)
        + opaque(origin)
        + struct.pack(">QQ", 0, int(size))
        + base64.b64decode(root)
    )


def key_id(name, key):
    return hashlib.sha256(name + b"\n" + b"\x06" + key).digest()[:4]


def line(name, key, signature):
    return b"\xe2\x80\x94 " + name + b" " + base64.b64encode(key_id(name, key) + signature)


what, *arguments = [os.fsencode(argument) for argument in sys.argv[1:]]
text = sys.stdin.buffer.read()
if what == b"sign":
    name, seed, time = arguments[0], bytes.fromhex(arguments[1].decode()), int(arguments[2])
    public, private = ML_DSA_44.key_derive(seed)
    signature = ML_DSA_44.sign(private, message(name, time, text), deterministic=True)
    vkey = b"+".join([name, key_id(name, public).hex().encode(), base64.b64encode(b"\x06" + public)])
    signed = line(name, public, struct.pack(">Q", time) + signature)
    sys.stdout.buffer.write(vkey + b"\n" + signed + b"\n")
else:
    name, _, material = arguments[0].split(b"+", 2)
    key = base64.b64decode(material)[1:]
    given = base64.b64decode(arguments[1].split(b" ")[2])
    assert line(name, key, given[4:]) == arguments[1]
    (time,) = struct.unpack(">Q", given[4:12])
    assert ML_DSA_44.verify(key, message(name, time, text), given[12:]), "does not hold"
    print(time)
