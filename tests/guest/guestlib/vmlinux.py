"""
The ELF file inside a bzImage: what the PVH entry and other loaders of ELF kernels are given.

	vmlinux.extract("/boot/vmlinuz-6.1.0-cloud-amd64", "vmlinux")
	python3 -m guestlib.vmlinux BZIMAGE TO

The boot protocol says where the payload is (payload_offset, payload_length, since 2.08) and its first bytes how it was packed.
Debian packs with xz; what else Linux knows is unpacked by its usual tool, which reads standard input and writes standard output.
"""
import lzma
import struct
import subprocess
import sys
import zlib

SETUP, MAGIC = 0x1f1, 0x202
TOOLS = [	# first bytes, and the tool; gzip and xz need none
	(b"BZh", ["bzip2", "-dc"]),
	(b"\x89LZO", ["lzop", "-dc"]),
	(b"\x02\x21\x4c\x18", ["lz4", "-dc"]),
	(b"\x28\xb5\x2f\xfd", ["zstd", "-dcq"]),
]


class NotThere(Exception):
	"""There is no ELF file to be had of it; the text says why."""


def payload(image):
	if image[MAGIC:MAGIC + 4] != b"HdrS":
		raise NotThere("is not a bzImage")
	version, = struct.unpack_from("<H", image, 0x206)
	if version < 0x208:
		raise NotThere("does not say where its payload is (boot protocol before 2.08)")
	offset, length = struct.unpack_from("<II", image, 0x248)
	start = ((image[SETUP] or 4) + 1) * 512 + offset
	if length == 0 or start + length > len(image):
		raise NotThere("is cut short")
	return image[start:start + length]


def unpack(packed):
	if packed.startswith(b"\x1f\x8b"):
		return zlib.decompressobj(31).decompress(packed)
	if packed.startswith(b"\xfd7zXZ"):
		return lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(packed)
	if packed.startswith(b"\x5d\x00\x00"):
		return lzma.LZMADecompressor(lzma.FORMAT_ALONE).decompress(packed)
	for magic, tool in TOOLS:
		if packed.startswith(magic):
			# Four bytes behind it say how long it becomes: tools complain of them after they have done all.
			done = subprocess.run(tool, input=packed, capture_output=True, check=False)
			return done.stdout
	if packed.startswith(b"\x7fELF"):
		return packed
	raise NotThere(f"is packed in a way that begins with {packed[:4].hex()}")


def elf(image):
	"""The bytes of the ELF file in the bytes of a bzImage."""
	unpacked = unpack(payload(image))
	if not unpacked.startswith(b"\x7fELF"):
		raise NotThere("has something else than an ELF file in it")
	return unpacked


def extract(bzimage, to):
	with open(bzimage, "rb") as source:
		unpacked = elf(source.read())
	with open(to, "wb") as out:
		out.write(unpacked)


def main(bzimage, to):
	try:
		extract(bzimage, to)
	except (NotThere, OSError, zlib.error, lzma.LZMAError) as why:
		sys.exit(f"{bzimage}: {why}")


if __name__ == "__main__":
	main(*sys.argv[1:])
