"""A CD-ROM image: an ISO 9660 file system of one folder, written by hand (ECMA-119)."""
import struct

SECTOR = 2048


def _both(number, code="I"):
	"""A number in both byte orders."""
	return struct.pack("<" + code, number) + struct.pack(">" + code, number)


def _record(name, sector, size, folder):
	name = name or b"\0"
	pad = b"" if len(name) % 2 else b"\0"
	body = bytes([0]) + _both(sector) + _both(size) + bytes([126, 1, 1, 0, 0, 0, 0, 2 if folder else 0, 0, 0]) + _both(1, "H") + \
		bytes([len(name)]) + name + pad
	return bytes([len(body) + 1]) + body


def _sectors(data):
	return data + bytes(-len(data) % SECTOR)


def image(label, files):
	"""The bytes of an image with these files: {"NAME.TXT": bytes}, names in capitals."""
	first = 21
	at, records, contents = first, b"", b""
	for name, data in sorted(files.items()):
		records += _record(name.encode() + b";1", at, len(data), False)
		contents += _sectors(data)
		at += (len(data) + SECTOR - 1) // SECTOR
	root = _sectors(_record(b"\0", 20, SECTOR, True) + _record(b"\1", 20, SECTOR, True) + records)
	assert len(root) == SECTOR
	table = [bytes([1, 0]) + struct.pack(order + "IH", 20, 1) + b"\0\0" for order in "<>"]
	volume = b"\1CD001\1\0" + b" " * 32 + label.encode().ljust(32) + bytes(8) + _both(at) + bytes(32) + _both(1, "H") + _both(1, "H") + \
		_both(SECTOR, "H") + _both(len(table[0])) + struct.pack("<II", 18, 0) + struct.pack(">II", 19, 0) + \
		_record(b"\0", 20, SECTOR, True)[:34] + b" " * (128 * 4 + 37 * 3) + (b"0" * 16 + b"\0") * 4 + b"\1\0"
	end = b"\xffCD001\1"
	return bytes(16 * SECTOR) + _sectors(volume) + _sectors(end) + _sectors(table[0]) + _sectors(table[1]) + root + contents
