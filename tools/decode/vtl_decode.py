#!/usr/bin/env python3
"""A second decoder of bundles, written from docs/formats/bundle.md alone.

    vtl_decode.py list FOLDER [--key KEY.pem]
    vtl_decode.py verify FOLDER
    vtl_decode.py decode FOLDER --out FILE [--key KEY.pem] [--file N]

With `--signer PUBLIC.pem` only what that Ed25519 key has signed is taken.

It needs `cryptography` for bundles with a key; for Zstandard `zstandard` or the program `zstd`. LZ4 is unpacked with `lz4` when it is there,
and by hand otherwise. The BLAKE3 of the image is checked when `blake3` is there.
"""

import argparse
import base64
import hashlib
import json
import os
import re
import struct
import subprocess
import sys
import zlib

# Bytes of the image in each frame but the last, by version.
FRAME_BYTES = [262144, 524288]
MAX_BODY = max(FRAME_BYTES) + 16
CHUNK = struct.Struct("<8sII16s32sQB3sI")
FRAME = struct.Struct("<4sIQIIBBHI")
MAX_MANIFEST = 256 << 20
MAX_INSIDE = 128 << 20
MAX_IMAGE = 64 << 40


class Wrong(Exception):
    """The bundle is not what it should be."""


def need(condition, why):
    if not condition:
        raise Wrong(why)


def decode_base64(text):
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise Wrong("the manifest has base64 that is none") from error
    need(base64.b64encode(data).decode() == text, "the manifest has base64 that is none")
    return data


def decode_hex(text, length):
    need(re.fullmatch("[0-9a-f]{%d}" % (2 * length), text), "the manifest has hexadecimal that is none")
    return bytes.fromhex(text)


def strict(pairs):
    """An object of JSON without doubled fields."""
    need(len(dict(pairs)) == len(pairs), "the manifest has a field twice")
    return dict(pairs)


def fields(value, names, where):
    need(isinstance(value, dict) and set(value) == set(names.split()), f"{where} has other fields than it should")
    return value


# Compression.


def unpack_zstd(data, limit):
    try:
        import zstandard
    except ImportError:
        done = subprocess.run(["zstd", "-dcq", "-M256MB"], input=data, capture_output=True, check=False)
        need(done.returncode == 0, "zstd: " + done.stderr.decode(errors="replace").strip())
        return done.stdout
    try:
        # One frame behind the other, and not more than was announced.
        return zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read(limit + 1)
    except zstandard.ZstdError as error:
        raise Wrong(f"zstd: {error}") from error


def unpack_lz4(data, limit):
    try:
        import lz4.block
    except ImportError:
        return unpack_lz4_by_hand(data, limit)
    try:
        return lz4.block.decompress(data, uncompressed_size=limit)
    except lz4.block.LZ4BlockError as error:
        raise Wrong(f"lz4: {error}") from error


def unpack_lz4_by_hand(data, limit):
    out, at = bytearray(), 0

    def length(start, at):
        if start == 15:
            while True:
                start, at = start + data[at], at + 1
                if data[at - 1] != 255:
                    break
        return start, at

    try:
        while True:
            token, at = data[at], at + 1
            literals, at = length(token >> 4, at)
            need(at + literals <= len(data), "lz4: cut short")
            out += data[at : at + literals]
            at += literals
            if at == len(data):
                return bytes(out)
            offset, at = data[at] | data[at + 1] << 8, at + 2
            match, at = length(token & 15, at)
            match += 4
            need(0 < offset <= len(out) and len(out) + match <= limit, "lz4: damaged")
            for _ in range(match):
                out.append(out[-offset])
    except IndexError as error:
        raise Wrong("lz4: cut short") from error


def unpack(codec, data, raw_bytes):
    unpackers = {0: lambda data, _: data, 1: unpack_zstd, 2: unpack_lz4}
    raw = unpackers[codec](data, raw_bytes)
    need(len(raw) == raw_bytes, "it does not decompress to what it was")
    return raw


CODECS = {"none": 0, "zstd": 1, "lz4": 2}


# Keys.


def derive(data_key, salt, info):
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(hashes.SHA256(), 32, salt, info).derive(data_key)


def open_sealed(key, nonce, about, sealed):
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        return AESGCM(key).decrypt(nonce, sealed, about)
    except InvalidTag as error:
        raise Wrong("it is not what was sealed here") from error


def unwrap(private_pem, recipients):
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding

    private = serialization.load_pem_private_key(private_pem, None)
    der = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    print_ = hashlib.sha256(der).hexdigest()
    for recipient in recipients:
        if recipient["key"] == print_:
            oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
            return private.decrypt(decode_base64(recipient["wrapped"]), oaep)
    raise Wrong(f"the bundle has no data key for this private key (fingerprint {print_})")


def check_signature(first, second):
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    signer = Ed25519PublicKey.from_public_bytes(decode_base64(second["signer"]))
    try:
        signer.verify(decode_base64(second["signature"]), b"vtl bundle manifest v0\n" + first)
    except InvalidSignature as error:
        raise Wrong("the manifest has a signature that is not of this manifest") from error


def is_signed_by(second, public_pem):
    from cryptography.hazmat.primitives import serialization

    encoding, form = serialization.Encoding.Raw, serialization.PublicFormat.Raw
    raw = serialization.load_pem_public_key(public_pem).public_bytes(encoding, form)
    return decode_base64(second["signer"]) == raw


# The manifest.


class Manifest:
    def __init__(self, data):
        need(len(data) <= MAX_MANIFEST, "the manifest is too long")
        parts = data.split(b"\n")
        need(len(parts) == 3 and parts[2] == b"", "the manifest has not two lines")
        first, second = parts[0], json.loads(parts[1], object_pairs_hook=strict)
        self.is_signed, self.second = "signer" in second, second
        fields(second, "sha256 signer signature" if self.is_signed else "sha256", "the manifest's second line")
        need(json.dumps(second, separators=(",", ":")).encode() == parts[1], "the manifest's second line is damaged")
        need(hashlib.sha256(first).hexdigest() == second["sha256"], "the manifest is damaged")
        if self.is_signed:
            check_signature(first, second)
        self.__dict__.update(self.first_line(first))
        self.id = decode_hex(self.bundle, 16)
        self.is_sealed = self.cipher != "none"
        self.check()

    @staticmethod
    def first_line(first):
        names = (
            "format version bundle label created generation codec cipher image_bytes objects recipients inside"
        )
        value = fields(json.loads(first, object_pairs_hook=strict), names, "the manifest")
        known = isinstance(value["version"], int) and 0 <= value["version"] < len(FRAME_BYTES)
        need(value["format"] == "vtl-bundle" and known, "the manifest is of another format")
        return value

    def check(self):
        self.frame_bytes = FRAME_BYTES[self.version]
        need(re.fullmatch(r"[A-Z0-9]{8}", self.label), "the label is none")
        need(re.fullmatch(r"\d{8}_\d{6}", self.created), "the date is none")
        need(self.codec in CODECS and self.cipher in ("none", "aes-256-gcm"), "the codec or cipher is unknown")
        need(bool(self.recipients) == self.is_sealed and len(self.recipients) <= 16, "the recipients cannot be")
        need(self.image_bytes <= MAX_IMAGE, "the image is too long")
        self.firsts = [0]
        for at, item in enumerate(self.objects):
            fields(item, "name bytes md5 sha256 frames", f"objects[{at}]")
            need(item["name"] == f"{self.label}.img.{at + 1:06}", f"objects[{at}] has another name")
            decode_hex(item["md5"], 16), decode_hex(item["sha256"], 32)
            need(item["frames"] > 0, f"objects[{at}] has no frames")
            least = CHUNK.size + item["frames"] * (FRAME.size + 4) + 12
            need(item["bytes"] >= least, f"objects[{at}] has more frames than it can hold")
            self.firsts.append(self.firsts[-1] + item["frames"])
        wanted = max(1, -(-self.image_bytes // self.frame_bytes))
        need(self.firsts[-1] == wanted, "the frames are not those of the image")

    def open_inside(self, data_key):
        closed = fields(self.inside, "salt codec raw_bytes text", "the inside")
        text = decode_base64(closed["text"])
        if self.is_sealed:
            key = derive(data_key, decode_hex(closed["salt"], 32), b"vtl bundle inside v0")
            about = self.id + self.label.encode() + struct.pack("<Q", self.generation)
            text = open_sealed(key, bytes(12), about, text)
        need(closed["raw_bytes"] <= MAX_INSIDE, "the inside is too long")
        raw = unpack(CODECS[closed["codec"]], text, closed["raw_bytes"])
        (length,) = struct.unpack_from("<I", raw)
        self.told = fields(json.loads(raw[4 : 4 + length]), "attributes blocks filemarks blake3 objects", "the inside")
        listed = "".join(f"{item['name']}\n{item['bytes']}\n{item['sha256']}\n" for item in self.objects)
        need(hashlib.sha256(listed.encode()).hexdigest() == self.told["objects"], "the inside belongs to other objects")
        self.map = list(read_map(raw[4 + length :]))
        blocks = [entry for entry in self.map if entry[0]]
        need(sum(length * count for length, count in blocks) == self.image_bytes, "the map has other bytes")
        need(sum(count for _, count in blocks) == self.told["blocks"], "the map has other blocks")
        need(sum(n for length, n in self.map if not length) == self.told["filemarks"], "the map has other filemarks")

    def file(self, number):
        """Where a file lies in the image; file 0 is what comes before the first filemark."""
        need(0 <= number <= self.told["filemarks"], f"there is no file {number}: they are 0 to {self.told['filemarks']}")
        file = at = start = 0
        for length, count in self.map:
            at += length * count
            if length:
                continue
            if number < file + count:
                break
            file, start = file + count, at
        return (start if number == file else at), at


def read_map(data):
    """Pairs: length and count of blocks, 0 and count of filemarks."""
    at, last, marks = 0, None, 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            need(at < len(data) and shift < 64, "the map is damaged")
            byte, at = data[at], at + 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                need((byte or shift == 7) and value < 1 << 64, "the map is damaged")
                return value

    while at < len(data):
        length, count = number(), number()
        need(length < 1 << 24 and count and length != last, "the map is damaged")
        last, marks = length, marks + (0 if length else count)
        need(marks < 1 << 32, "the map has too many filemarks")
        yield length, count


# Objects.


def frames(manifest, folder, at, data_key=None):
    """The frames of one object, opened when there is a key or none is needed: `(number, bytes or None)`. At the end length and SHA-256 are checked."""
    item, hasher, total, lengths = manifest.objects[at], hashlib.sha256(), 0, []
    name = item["name"]

    with open(os.path.join(folder, name), "rb") as file:

        def take(length, place):
            nonlocal total
            data = file.read(length)
            need(len(data) == length, f"{place}: it is cut short")
            hasher.update(data)
            total += length
            return data

        head = take(CHUNK.size, name)
        magic, version, number, bundle, salt, first, cipher, zeros, crc = CHUNK.unpack(head)
        need(zlib.crc32(head[:76]) == crc, f"{name}: its header is damaged")
        need((magic, version, zeros) == (b"VTLBNDL\0", manifest.version, bytes(3)), f"{name}: it is of another format")
        place = (manifest.id, at + 1, manifest.firsts[at], int(manifest.is_sealed))
        need((bundle, number, first, cipher) == place, f"{name}: it belongs elsewhere")
        key = data_key and derive(data_key, salt, b"vtl bundle chunk v0")
        for frame in range(manifest.firsts[at], manifest.firsts[at + 1]):
            where = f"{name}, frame {frame}"
            front = take(FRAME.size, where)
            magic, length, number, object_, raw_len, codec, flags, zeros, crc = FRAME.unpack(front)
            need(magic == b"VTLF" and length <= MAX_BODY and codec <= 2 and not zeros, f"{where}: it is damaged")
            body = take(length, where)
            lengths.append(length)
            need(zlib.crc32(body, zlib.crc32(front[:28])) == crc, f"{where}: it is damaged")
            end = 0
            if frame + 1 == manifest.firsts[at + 1]:
                end = 3 if at + 1 == len(manifest.objects) else 1
            raw = min(manifest.frame_bytes, manifest.image_bytes - frame * manifest.frame_bytes)
            need((number, object_, flags, raw_len) == (frame, at + 1, end, raw), f"{where}: it belongs elsewhere")
            try:
                if key:
                    body = open_sealed(key, struct.pack("<Q4x", frame), head + front[:28], body)
                yield frame, None if cipher and not key else unpack(codec, body, raw_len)
            except Wrong as error:
                raise Wrong(f"{where}: {error}") from error
        table = struct.pack("<4sI", b"VTLX", len(lengths)) + struct.pack(f"<{len(lengths)}I", *lengths)
        table += struct.pack("<I", zlib.crc32(table))
        need(take(len(table), name) == table, f"{name}: its frame table is damaged")
        need(not file.read(1), f"{name}: more follows after its end")
    need(total == item["bytes"], f"{name}: its length is another one")
    need(hasher.hexdigest() == item["sha256"], f"{name}: its SHA-256 is not the one in the manifest")


def decode(manifest, folder, data_key, start, end, write):
    try:
        from blake3 import blake3
    except ImportError:
        blake3 = None
    content = blake3() if blake3 else None
    for at in range(len(manifest.objects)):
        for number, raw in frames(manifest, folder, at, data_key):
            if content:
                content.update(raw)
            base = number * manifest.frame_bytes
            write(raw[max(0, start - base) : max(0, end - base)])
    need(not content or content.hexdigest() == manifest.told["blake3"], "the content's BLAKE3 is another one")
    if not content:
        print("BLAKE3 of the content was not checked: the package blake3 is not there", file=sys.stderr)


# Commands.


def counting_manifest(folder, name):
    """The one that replaces it, when that is there and whole."""

    def read(name):
        with open(os.path.join(folder, name), "rb") as file:
            return Manifest(file.read(MAX_MANIFEST + 1))

    try:
        return read(name + ".new")
    except (Wrong, OSError, ValueError) as error:
        if os.path.exists(os.path.join(folder, name)):
            return read(name)
        raise error


def read_manifest(folder):
    names = {name.removesuffix(".new") for name in os.listdir(folder)}
    names = [name for name in names if name.endswith(".manifest")]
    need(len(names) == 1, f"{folder} has {len(names)} manifests, a bundle has one")
    manifest = counting_manifest(folder, names[0])
    need(names[0] == f"{manifest.label}.manifest", "the manifest has another label than its name")
    known = {item["name"] for item in manifest.objects}
    for name in sorted(os.listdir(folder)):
        need(name in known or ".img." not in name, f"{name}: the manifest does not know it")
    return manifest


def open_bundle(arguments):
    manifest, data_key = read_manifest(arguments.folder), None
    if arguments.signer:
        need(manifest.is_signed, "the manifest is not signed, and a signer is expected")
        with open(arguments.signer, "rb") as file:
            need(is_signed_by(manifest.second, file.read()), "the manifest was signed by another")
    if manifest.is_sealed and arguments.key:
        need(os.stat(arguments.key).st_mode & 0o077 == 0, f"{arguments.key}: others may read it (chmod 600)")
        with open(arguments.key, "rb") as file:
            data_key = unwrap(file.read(), manifest.recipients)
    if data_key or not manifest.is_sealed:
        manifest.open_inside(data_key)
    return manifest, data_key


def run(arguments):
    manifest, data_key = open_bundle(arguments)
    if arguments.command == "list":
        told = {name: getattr(manifest, name) for name in ("label", "created", "generation", "codec", "cipher", "image_bytes")}
        told["signer"] = manifest.second.get("signer")
        told["objects"], told["inside"] = manifest.objects, getattr(manifest, "told", None)
        print(json.dumps(told, indent=2))
    elif arguments.command == "verify":
        for at in range(len(manifest.objects)):
            for _ in frames(manifest, arguments.folder, at):
                pass
    else:
        need(hasattr(manifest, "told"), "the bundle is encrypted: give one of its private keys with --key")
        start, end = (0, manifest.image_bytes) if arguments.file is None else manifest.file(arguments.file)
        part = arguments.out + ".part"
        with open(part, "xb") as out:
            decode(manifest, arguments.folder, data_key, start, end, out.write)
        os.rename(part, arguments.out)


def main():
    parser = argparse.ArgumentParser(description="Decodes bundles of vtl.")
    parser.add_argument("command", choices=["list", "verify", "decode"])
    parser.add_argument("folder")
    parser.add_argument("--key", help="private key, PEM")
    parser.add_argument("--signer", help="public key of who must have signed it, PEM")
    parser.add_argument("--out", help="where the content goes")
    parser.add_argument("--file", type=int, help="only this file, from 0, between filemarks")
    arguments = parser.parse_args()
    try:
        need(arguments.command != "decode" or arguments.out, "say where the content goes with --out FILE")
        run(arguments)
    except (Wrong, OSError, ValueError) as error:
        sys.exit(f"vtl_decode: {error}")


if __name__ == "__main__":
    main()
