#!/usr/bin/env python3
"""Recomputes every digest of a launch record (launch.json) from the record alone, so that nobody has to
trust the program that wrote it. Python 3.9 or later, nothing but the standard library.

    recompute.py launch.json                       print all digests; exit 0 if they are the recorded ones
    recompute.py launch.json --vcpus 3             print one that need not be recorded
    recompute.py launch.json --firmware FILE       also hash the firmware image itself

Exit codes: 0 all agree, 1 a file cannot be read, 2 wrong usage, 10 a digest differs, 30 malformed, or not
understood here.
References: "ABI" is AMD publication 56860; "APM" is AMD publication 24593."""
import argparse
import hashlib
import json
import re
import struct
import sys
import uuid

PAGE, ZERO = 4096, bytes(48)
NORMAL, VMSA, ZEROED, UNMEASURED, SECRETS, CPUID = 1, 2, 3, 4, 5, 6  # PAGE_TYPE of the ABI
SECTIONS = {"sec-mem": None, "secrets": SECRETS, "cpuid": CPUID, "svsm-caa": ZEROED, "kernel-hashes": ZEROED}
# How each hypervisor launches. rdx None: the CPU's signature. mxcsr, fcw: the same on every vCPU.
QEMU = dict(sec_mem=ZEROED, cpuid_last=False, cs_bsp=0x9B, cs_ap=0x9B, ss=0x93, tr=0x8B, rdx=None,
            g_pat=0x0007040600070406, mxcsr=0x1F80, fcw=0x37F)
EC2 = dict(QEMU, cpuid_last=True, cs_bsp=0x9A, ss=0x92, tr=0x83, rdx=0x600, mxcsr=0, fcw=0)
PROFILES = {"qemu": QEMU, "qemu-legacy": dict(QEMU, mxcsr=0, fcw=0), "ec2": EC2, "ec2-2023": dict(EC2, rdx=0),
            "krun": dict(EC2, cpuid_last=False, cs_ap=0x9A, rdx=0),
            "gce": dict(QEMU, sec_mem=UNMEASURED, rdx=0x600, g_pat=0x70106, mxcsr=0, fcw=0)}
GUIDS = ("9438d606-4f22-4cc9-b479-a793d411fd21", "97d02dd8-bd20-4c94-aa78-e7714d36ab2a",  # table, command line,
         "44baf731-3a2f-4bd7-9af1-41e29169781d", "4de79437-abd2-427f-b835-d5b172d2045b")  # initrd, kernel

# QEMU's CPU models: the versions of a series have one signature.
SERIES = ("EPYC", 5, "0x800f12"), ("EPYC-Rome", 5, "0x830f10"), ("EPYC-Milan", 4, "0xa00f11"), \
    ("EPYC-Genoa", 3, "0xa10f10"), ("EPYC-Turin", 2, "0xb00f00")
MODELS = {name + version: signature for name, versions, signature in SERIES
          for version in ["", *(f"-v{number}" for number in range(1, versions + 1))]}
MODELS["EPYC-IBPB"] = MODELS["EPYC"]
# The form of a record. A string is a pattern, a number so many bits, a tuple one of these, a list any number
# of this, a dictionary these keys in this order, and with the key "" any keys in ascending order.
SHA256, SHA384, TEXT, GUID = "[0-9a-f]{64}", "[0-9a-f]{96}", "(?s:.*)", "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
HEX32, HEX64, ADDRESS = "0x(0|[1-9a-f][0-9a-f]{0,7})", "0x(0|[1-9a-f][0-9a-f]{0,15})", "0x[1-9a-f][0-9a-f]{0,7}"
BLOB, TABLE = {"sha256": SHA256, "size": 64}, {"gpa": ADDRESS, "size": HEX32}
FOUND = {"module": GUID, "name": (None, TEXT), "sha256": SHA256, "offset": 64}
NAMED = ({"state": "not-read"}, {"state": "refused", "by": FOUND}, {"state": "unused", "read_by": FOUND},
         {"state": "run", "read_by": FOUND, "started_by": FOUND})
FIRMWARE = {"sha256": SHA256, "size": 32, "digest": SHA384, "reset_eip": (None, ADDRESS),
            "hash_table": (None, TABLE), "sections": [{"kind": "|".join(SECTIONS), "gpa": HEX32, "size": HEX32}],
            "direct_boot": (None, {"verifier": (None, FOUND), "named_blobs": NAMED})}
RECORD = {"version": 32, "tool": TEXT, "writers": {"": TEXT}, "profile": TEXT, "policy": HEX64, "firmware": FIRMWARE,
          "boot": (None, {"kernel": BLOB, "initrd": (None, BLOB), "cmdline": "[^\0]*"}),
          "volumes": [({"name": TEXT, "root_hash": SHA256, "disclosure": "public|committed"},
                       {"name": TEXT, "disclosure": "none"})],
          "vcpus": [32], "cpus": [{"model": (None, TEXT), "signature": HEX32}], "sev_features": [HEX64],
          "digest_before_vcpus": SHA384,
          "digests": [{"vcpus": 32, "cpu": TEXT, "sev_features": HEX64, "digest": SHA384}],
          "unmeasured": [{"what": TEXT, "means": TEXT}]}


def misfit(value, form, at):
    """Where the value is not of the form; None if it is."""
    if isinstance(form, tuple):
        found = [misfit(value, one, at) for one in form]
        return None if None in found else found[-1]
    if type(value) is not type(form):
        return at
    if isinstance(form, list):
        parts = [(item, form[0], f"{at}[{index}]") for index, item in enumerate(value)]
    elif isinstance(form, dict):
        if list(value) != (sorted(value) if "" in form else list(form)):
            return at
        parts = [(value[key], form.get(key, form.get("")), f"{at}.{key}") for key in value]
    else:
        fits = form is None or (0 <= value < 2**form if isinstance(form, int) else re.fullmatch(form, value))
        return None if fits else at
    return next(filter(None, (misfit(*part) for part in parts)), None)


def read(text):
    """A record has one spelling, which also rules out a key that is given twice."""
    record = json.loads(text)
    require(text == json.dumps(record, indent=2, ensure_ascii=False) + "\n", "not the canonical form of a record")
    at = misfit(record, RECORD, "record")
    require(not at, f"{at} is not what a record has there")
    return record


def extend(digest, kind, gpa, contents=ZERO):
    """ABI, PAGE_INFO: the digest so far, that of the page, 0x70, the type, seven zeros, the address."""
    return hashlib.sha384(digest + contents + struct.pack("<HB5xQ", 0x70, kind, gpa)).digest()


def image_digest(image):
    """The digest after the firmware, which ends at 4 GiB, page by page."""
    digest = ZERO
    for at in range(0, len(image), PAGE):
        page = hashlib.sha384(image[at:at + PAGE]).digest()
        digest = extend(digest, NORMAL, 2**32 - len(image) + at, page)
    return digest


def hash_page(boot, table):
    """The page by which kernel, initrd and command line are bound: zeros, and QEMU's SevHashTable."""
    initrd = bytes.fromhex(boot["initrd"]["sha256"]) if boot["initrd"] else hashlib.sha256(b"").digest()
    cmdline = hashlib.sha256(boot["cmdline"].encode() + b"\0").digest()  # the NUL is hashed too
    names = [uuid.UUID(name).bytes_le for name in GUIDS]
    body = names[0] + struct.pack("<H", 168)
    for name, value in zip(names[1:], (cmdline, initrd, bytes.fromhex(boot["kernel"]["sha256"]))):
        body += name + struct.pack("<H", 50) + value
    start = table % PAGE
    return bytes(start) + body + bytes(PAGE - start - len(body))


def vmsa(profile, eip, signature, features):
    """A vCPU at reset (APM, table B-4). Segments: selector, attributes, limit, base."""
    page = bytearray(PAGE)
    cs = profile["cs_bsp"] if eip == 0xFFFFFFF0 else profile["cs_ap"]
    segments = [(0, 0x93, 0), (0xF000, cs, eip & 0xFFFF0000), (0, profile["ss"], 0), (0, 0x93, 0), (0, 0x93, 0),
                (0, 0x93, 0), (0, 0, 0), (0, 0x82, 0), (0, 0, 0), (0, profile["tr"], 0)]  # es cs ss ds fs gs
    for index, (selector, attributes, base) in enumerate(segments):                       # gdtr ldtr idtr tr
        struct.pack_into("<HHIQ", page, 16 * index, selector, attributes, 0xFFFF, base)
    rdx = signature if profile["rdx"] is None else profile["rdx"]
    quads = {0xD0: 0x1000, 0x148: 0x40, 0x158: 0x10, 0x160: 0x400, 0x168: 0xFFFF0FF0,     # efer cr4 cr0 dr7 dr6
             0x170: 2, 0x178: eip & 0xFFFF, 0x268: profile["g_pat"], 0x310: rdx,          # rflags rip
             0x3B0: features, 0x3E8: 1}                                                   # sev_features xcr0
    for offset, value in quads.items():
        struct.pack_into("<Q", page, offset, value)
    struct.pack_into("<I", page, 0x408, profile["mxcsr"])
    struct.pack_into("<H", page, 0x410, profile["fcw"])
    return hashlib.sha384(page).digest()


def check_layout(firmware):
    """The image and every section are whole pages of their own, and the hash table is in the page for it."""
    sections, table = firmware["sections"], firmware["hash_table"]
    kinds, end, image = [section["kind"] for section in sections], 0, 2**32 - firmware["size"]
    start, room = (number(table["gpa"]), number(table["size"])) if table else (0, PAGE)
    require(room >= 176 and start % PAGE + 176 <= PAGE, f"no room for the hash table at {start:#x}")
    require(sections and image % PAGE == 0 and image < 2**32, "the firmware has no sections, or is not whole pages")
    for gpa, size, kind in sorted((number(each["gpa"]), number(each["size"]), each["kind"]) for each in sections):
        own = gpa % PAGE == size % PAGE == 0 and size and end <= gpa and gpa + size <= image
        require(own, f"section {kind} at {gpa:#x} is not whole pages of its own below the firmware")
        single = kind in ("sec-mem", "svsm-caa") or size == PAGE and kinds.count(kind) == 1
        require(single, f"section {kind} at {gpa:#x} is not the only page of its kind")
        inside = not table or kind != "kernel-hashes" or start // PAGE == gpa // PAGE
        require(inside, "the hash table is not in the page for it")
        end = gpa + size


def before_vcpus(record, profile):
    """The firmware's pages are in its digest; then the pages that its metadata asks for, in order."""
    firmware, boot = record["firmware"], record["boot"]
    check_layout(firmware)
    digest, sections, table = bytes.fromhex(firmware["digest"]), firmware["sections"], firmware["hash_table"]
    bound = table and any(section["kind"] == "kernel-hashes" for section in sections)
    require(bound or not boot, "a kernel, but no place for the hash table")
    if profile["cpuid_last"]:
        sections = sorted(sections, key=lambda section: section["kind"] == "cpuid")
    for kind, gpa, size in ((each["kind"], number(each["gpa"]), number(each["size"])) for each in sections):
        if kind == "kernel-hashes" and boot:
            page = hash_page(boot, number(table["gpa"]))
            digest = extend(digest, NORMAL, gpa, hashlib.sha384(page).digest())
            continue
        for at in range(gpa, gpa + size, PAGE):
            digest = extend(digest, SECTIONS[kind] or profile["sec_mem"], at)
    return digest


def launch(record, profile, digest, vcpus, signature, features):
    """Every vCPU's page, the first one from the reset vector, all at the address that KVM has for them."""
    require(1 <= vcpus <= 4096, f"{vcpus} vCPUs")
    reset = record["firmware"]["reset_eip"]
    require(reset or vcpus == 1, "several vCPUs, but the firmware does not say where they start")
    first = vmsa(profile, 0xFFFFFFF0, signature, features)
    others = vmsa(profile, number(reset), signature, features) if reset else None
    for index in range(vcpus):
        digest = extend(digest, VMSA, 0xFFFFFFFFF000, others if index else first)
    return digest


def check(record):
    """Yields what, the recorded digest and the recomputed one, for all that the record must have."""
    require(record["version"] == 1 and record["writers"]["launch"] == "launch/1", "a record of another version")
    require(record["profile"] in PROFILES, f"unknown profile {record['profile']!r}")
    profile = PROFILES[record["profile"]]
    for values in record["vcpus"], [number(features) for features in record["sev_features"]]:
        require(values == sorted(set(values)), "vCPU counts or features do not ascend")
    for cpu in record["cpus"]:
        model = cpu["model"]
        require(model is None or MODELS.get(model) == cpu["signature"], f"{model!r} does not have this signature")
    before = before_vcpus(record, profile)
    yield "before the vCPUs", record["digest_before_vcpus"], before.hex()
    rows = [(vcpus, cpu, features) for vcpus in record["vcpus"] for cpu in record["cpus"]
            for features in record["sev_features"]]
    require(rows and len(rows) == len(record["digests"]), "digests are missing or surplus")
    labels = [cpu["model"] or cpu["signature"] for cpu in record["cpus"]]
    require(len(set(labels)) == len(labels), "a CPU is given twice")
    for (vcpus, cpu, features), row in zip(rows, record["digests"]):
        label = (vcpus, cpu["model"] or cpu["signature"], features)
        require(label == (row["vcpus"], row["cpu"], row["sev_features"]), f"digest {label} is not in its place")
        found = launch(record, profile, before, vcpus, number(cpu["signature"]), number(features))
        yield "%d vCPUs, %s, SEV_FEATURES %s" % label, row["digest"], found.hex()


def number(text, form=HEX64):
    require(misfit(text, form, "here") is None, f"{text!r} is not a number as a record has them")
    return int(text, 16)


def require(condition, otherwise):
    if not condition:
        raise ValueError(otherwise)


def only(values, what, parser):
    if len(values) != 1:
        parser.error(f"the record has several: give {what}")
    return values[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("record", help="a launch record, launch.json")
    parser.add_argument("--firmware", help="the firmware image, to be hashed too")
    parser.add_argument("--vcpus", type=int, help="a number of vCPUs that need not be in the record")
    parser.add_argument("--cpu-signature", help="CPUID Fn0000_0001 EAX, such as 0xa00f11")
    parser.add_argument("--features", help="SEV_FEATURES, such as 0x1")
    options = parser.parse_args()
    try:
        with open(options.record, "rb") as file:
            record = read(file.read().decode())
        results = list(check(record))
        if options.firmware:
            with open(options.firmware, "rb") as file:
                image = file.read()
            recorded = record["firmware"]
            results.append(("sha256 of the firmware", recorded["sha256"], hashlib.sha256(image).hexdigest()))
            results.append(("after the firmware's pages", recorded["digest"], image_digest(image).hex()))
        differs = [result for result in results if result[1] != result[2]]
        if options.vcpus is None:
            for what, recorded, found in results:
                print(f"{found}  {what}" + ("" if recorded == found else f"  DIFFERS: recorded {recorded}"))
        elif not differs:
            cpu = options.cpu_signature or only([c["signature"] for c in record["cpus"]], "--cpu-signature", parser)
            features = options.features or only(record["sev_features"], "--features", parser)
            profile = PROFILES[record["profile"]]
            before = before_vcpus(record, profile)
            print(launch(record, profile, before, options.vcpus, number(cpu, HEX32), number(features)).hex())
        for what, _, _ in differs:
            print(f"error: the digest differs: {what}", file=sys.stderr)
        return 10 if differs else 0
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (ValueError, KeyError, TypeError, AttributeError, struct.error, RecursionError) as error:
        print(f"error: malformed, or not understood here: {type(error).__name__}: {error}", file=sys.stderr)
        return 30


if __name__ == "__main__":
    sys.exit(main())
