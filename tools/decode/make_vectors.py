#!/usr/bin/env python3
"""Makes the test vectors of docs/formats/bundle.md, without a line of the product.

    python3 -m venv v && v/bin/pip install cryptography zstandard lz4 blake3
    v/bin/python tools/decode/make_vectors.py crates/vtl-bundle/tests/vectors [NAME...]

Everything is made up, the keys too. RSA keys and OAEP are random, so each run gives other bytes; the committed ones stay. With names only these are made.
"""

import base64
import hashlib
import json
import os
import struct
import sys
import zlib

import lz4.block
import zstandard
from blake3 import blake3
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

# Bytes of the image in a frame, by version.
FRAME = [262144, 524288]
PACK = {
    "none": (0, None),
    "zstd": (1, lambda raw: zstandard.ZstdCompressor(3).compress(raw)),
    # Frames of zstd one behind the other, the last one of bytes that do not compress.
    "zstd-several": (1, lambda raw: b"".join(PACK["zstd"][1](raw[at : at + 100000]) for at in range(0, len(raw), 100000))),
    "lz4": (2, lambda raw: lz4.block.compress(raw, store_size=False)),
}
ENCODINGS = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def packed(codec, raw):
    number, pack = PACK[codec]
    small = pack(raw) if pack else raw
    return (number, small) if len(small) < len(raw) else (0, raw)


def derive(key, salt, info):
    return HKDF(hashes.SHA256(), 32, salt, info).derive(key)


def leb(value):
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out) + bytes([value])


def objects(spec, bundle, key, image):
    """At most `per_object` frames in each."""
    step = FRAME[spec.get("version", 0)]
    pieces = [image[at : at + step] for at in range(0, len(image), step)] or [b""]
    groups = [pieces[at : at + spec["per_object"]] for at in range(0, len(pieces), spec["per_object"])]
    frame = 0
    for number, group in enumerate(groups, 1):
        salt = os.urandom(32) if key else bytes(32)
        head = struct.pack("<8sII16s32sQB3x", b"VTLBNDL\0", spec.get("version", 0), number, bundle, salt, frame, int(bool(key)))
        head += struct.pack("<I", zlib.crc32(head))
        out, lengths = head, []
        for at, raw in enumerate(group, 1):
            codec, body = packed(spec.get("pack", spec["codec"]), raw)
            flags = (at == len(group)) + 2 * (at == len(group) and number == len(groups))
            length = len(body) + (16 if key else 0)
            lengths.append(length)
            front = struct.pack("<4sIQIIBBH", b"VTLF", length, frame, number, len(raw), codec, flags, 0)
            if key:
                sealer = AESGCM(derive(key, salt, b"vtl bundle chunk v0"))
                body = sealer.encrypt(struct.pack("<Q4x", frame), body, head + front)
            out += front + struct.pack("<I", zlib.crc32(front + body)) + body
            frame += 1
        table = struct.pack(f"<4sI{len(lengths)}I", b"VTLX", len(lengths), *lengths)
        out += table + struct.pack("<I", zlib.crc32(table))
        yield f"{spec['label']}.img.{number:06}", out, len(group)


def inside(spec, bundle, key, image, stored):
    tape = b"".join(leb(length) + leb(count) for length, count in spec["map"])
    listed = "".join(f"{item['name']}\n{item['bytes']}\n{item['sha256']}\n" for item in stored)
    text = {
        "attributes": {"serial": "VTLTEST001"},
        "blocks": sum(count for length, count in spec["map"] if length),
        "filemarks": sum(count for length, count in spec["map"] if not length),
        "blake3": blake3(image).hexdigest(),
        "objects": hashlib.sha256(listed.encode()).hexdigest(),
    }
    text = json.dumps(text, separators=(",", ":")).encode()
    raw = struct.pack("<I", len(text)) + text + tape
    codec, body = packed(spec["codec"], raw)
    salt = bytes(32)
    if key:
        salt = os.urandom(32)
        about = bundle + spec["label"].encode() + struct.pack("<Q", spec["generation"])
        body = AESGCM(derive(key, salt, b"vtl bundle inside v0")).encrypt(bytes(12), body, about)
    name = [name for name, (number, _) in PACK.items() if number == codec][0]
    return {"salt": salt.hex(), "codec": name, "raw_bytes": len(raw), "text": base64.b64encode(body).decode()}


def recipient(key, private):
    public = private.public_key()
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    wrapped = public.encrypt(key, padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None))
    return {"key": hashlib.sha256(der).hexdigest(), "bits": public.key_size, "wrapped": base64.b64encode(wrapped).decode()}


def write(folder, name, data, mode=0o644):
    path = os.path.join(folder, name)
    with open(path, "wb") as file:
        file.write(data)
    os.chmod(path, mode)


def make(root, name, spec, image):
    if len(sys.argv) > 2 and name not in sys.argv[2:]:
        return
    folder = os.path.join(root, name, f"{spec['label']}-20261126_031500")
    os.makedirs(folder)
    bundle, key = os.urandom(16), os.urandom(32) if spec["recipients"] else None
    stored = []
    for label, data, frames in objects(spec, bundle, key, image):
        write(folder, label, data)
        md5, sha256 = hashlib.md5(data).hexdigest(), hashlib.sha256(data).hexdigest()
        stored.append({"name": label, "bytes": len(data), "md5": md5, "sha256": sha256, "frames": frames})
    privates = [rsa.generate_private_key(65537, 2048) for _ in range(spec["recipients"])]
    manifest = {
        "format": "vtl-bundle",
        "version": spec.get("version", 0),
        "bundle": bundle.hex(),
        "label": spec["label"],
        "created": "20261126_031500",
        "generation": spec["generation"],
        "codec": spec["codec"],
        "cipher": "aes-256-gcm" if key else "none",
        "image_bytes": len(image),
        "objects": stored,
        "recipients": [recipient(key, private) for private in privates[: spec.get("first", 16)]],
        "inside": inside(spec, bundle, key, image, stored),
    }
    signing = Ed25519PrivateKey.generate() if spec["signed"] else None
    if signing:
        form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        write(os.path.join(root, name), "signer.pub.pem", signing.public_key().public_bytes(*form))
    ending = ".new" if "first" in spec else ""
    write(folder, f"{spec['label']}.manifest{ending}", lines(manifest, signing))
    if ending:
        # The replacement was cut off: the old manifest, for the other key, is there still.
        manifest["recipients"] = [recipient(key, private) for private in privates[spec["first"] :]]
        write(folder, f"{spec['label']}.manifest", lines(manifest, signing))
    for number, private in enumerate(privates, 1):
        write(os.path.join(root, name), f"made-up-key-{number}.pem", private.private_bytes(*ENCODINGS), 0o600)
    told = {"data_key": key.hex() if key else None, "image_sha256": hashlib.sha256(image).hexdigest()}
    write(os.path.join(root, name), "expected.json", json.dumps(told, indent=2).encode() + b"\n")


def lines(manifest, signing):
    """The two lines of a manifest."""
    first = json.dumps(manifest, separators=(",", ":")).encode()
    second = {"sha256": hashlib.sha256(first).hexdigest()}
    if signing:
        raw = signing.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        second["signer"] = base64.b64encode(raw).decode()
        second["signature"] = base64.b64encode(signing.sign(b"vtl bundle manifest v0\n" + first)).decode()
    return first + b"\n" + json.dumps(second, separators=(",", ":")).encode() + b"\n"


def noise(length):
    return blake3(b"noise").digest(length=length)


def main():
    root = sys.argv[1]
    text = b"one line of a made-up backup..\n" * 34816
    blocks = text + bytes(262144) + noise(300) + b"end"
    sealed = [(10240, len(blocks) // 10240), (0, 1), (len(blocks) % 10240 - 1, 1), (1, 1), (0, 2)]
    spec = {"label": "VTL001L8", "generation": 7, "per_object": 2, "map": sealed}
    make(root, "zstd-sealed", spec | {"codec": "zstd", "recipients": 2, "signed": True}, blocks)
    make(root, "zstd-several", spec | {"version": 1, "codec": "zstd", "pack": "zstd-several", "recipients": 1, "signed": False}, blocks)
    make(root, "lz4-plain", spec | {"codec": "lz4", "recipients": 0, "signed": False}, blocks)
    small = b"MARKER in clear " * 8 + noise(100)
    plain = [(128, 1), (0, 1), (100, 1), (0, 2)]
    make(root, "none-plain", spec | {"codec": "none", "recipients": 0, "signed": True, "map": plain}, small)
    make(root, "none-sealed", spec | {"codec": "none", "recipients": 1, "signed": False, "map": plain}, small)
    replaced = spec | {"codec": "none", "recipients": 2, "first": 1, "signed": True, "map": plain}
    make(root, "replaced", replaced, small)
    make(root, "marks-only", spec | {"codec": "zstd", "recipients": 0, "signed": False, "map": [(0, 3)]}, b"")


if __name__ == "__main__":
    main()
