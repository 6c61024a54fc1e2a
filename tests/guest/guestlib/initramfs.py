"""The guests' root: busybox, guestio, the kernel's modules and the scripts of ../inside, as a cpio archive."""
import gzip
import lzma
import os
import re
import shlex
import shutil
import stat

from .place import Failure

INSIDE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "inside")
TRANSPORTS = ("virtio_pci", "virtio_mmio")
DRIVERS = ("virtio_blk", "virtio_rng", "ext4", "crc32c_generic")


class Archive:
	"""A cpio archive in the "newc" format that Linux unpacks."""

	def __init__(self):
		self.parts, self.count = [], 0

	def add(self, name, mode, data=b"", device=(0, 0)):
		self.count += 1
		fields = (self.count, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name) + 1, 0)
		head = b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
		self.parts += [head, bytes(-len(head) % 4), data, bytes(-len(data) % 4)]

	def folder(self, name):
		self.add(name, stat.S_IFDIR | 0o755)

	def file(self, name, data, mode=0o755):
		self.add(name, stat.S_IFREG | mode, data)

	def bytes(self):
		self.add("TRAILER!!!", 0)
		return b"".join(self.parts)


def _read(path):
	with open(path, "rb") as file:
		data = file.read()
	if path.endswith(".xz"):
		return lzma.decompress(data)
	if path.endswith(".gz"):
		return gzip.decompress(data)
	return data


def _module_name(path):
	return re.sub(r"\.ko(\.\w+)?$", "", os.path.basename(path)).replace("-", "_")


def modules(folder, wanted):
	"""The modules wanted and what they need, each after its needs, as (name, bytes); what is built in has none."""
	needs, paths = {}, {}
	with open(os.path.join(folder, "modules.dep"), encoding="ascii") as dep:
		for line in dep:
			path, _, after = line.partition(":")
			paths[_module_name(path)] = path
			needs[_module_name(path)] = [_module_name(p) for p in after.split()]
	order = []

	def add(name):
		if name in order or name not in paths:
			return
		for need in needs[name]:
			add(need)
		order.append(name)

	for name in wanted:
		add(name)
	return [(name + ".ko", _read(os.path.join(folder, paths[name]))) for name in order]


def _folders(target, made):
	"""The folders above target that are not there yet."""
	parts = target.split("/")[:-1]
	for depth in range(1, len(parts) + 1):
		folder = "/".join(parts[:depth])
		if folder not in made and folder not in ("bin", "lib"):
			made.add(folder)
			yield folder


def static_busybox():
	for folder in ("/bin", "/usr/bin"):
		path = os.path.join(folder, "busybox")
		if os.path.exists(path):
			with open(path, "rb") as file:
				data = file.read()
			if b"/lib64/ld-linux" not in data[:4096]:
				return data
	raise Failure("no static busybox: apt-get install busybox-static")


def tools(place):
	"""The programs of ../inside, compiled for the guest: (name, path)."""
	compiler = shlex.split(os.environ.get("CC", "cc"))
	ready = os.environ.get("VIO_GUEST_TOOLS")	# a folder that has them already
	for source in sorted(os.listdir(INSIDE)):
		if not source.endswith(".c"):
			continue
		tool = os.path.join(ready or place.path, source.removesuffix(".c"))
		if not os.path.exists(tool):
			place.run(*compiler, "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-static", "-pthread",
				os.path.join(INSIDE, source), "-o", tool)
		yield source.removesuffix(".c"), tool


def with_libraries(place, program):
	"""The files that a program of this host (a name, or a path) needs, itself first."""
	path = program if "/" in program else shutil.which(program)
	if not path:
		raise Failure(f"{program} is not installed")
	needed = re.findall(r"(?:=> )?(/\S+) \(0x", place.run("ldd", path))
	return [path, *needed]


def build(place, name, module_folder, drivers=DRIVERS, programs=()):
	"""Writes the archive for one kernel and returns its path."""
	archive = Archive()
	for folder in ("bin", "dev", "lib", "mnt", "modules", "proc", "sys", "tmp"):
		archive.folder(folder)
	archive.add("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
	archive.file("bin/busybox", static_busybox())
	archive.file("bin/sh", static_busybox())
	for program, path in tools(place):
		archive.file("bin/" + program, _read(path))
	carried = set()
	for program in programs:
		for number, path in enumerate(with_libraries(place, program)):
			target = "bin/" + os.path.basename(program) if number == 0 else path.lstrip("/")
			if target not in carried:
				for folder in _folders(target, carried):
					archive.folder(folder)
				archive.file(target, _read(path))
				carried.add(target)
	loaded = modules(module_folder, [*TRANSPORTS, *drivers])
	for module, data in loaded:
		archive.file("modules/" + module, data)
	archive.file("modules/order", "".join(module + "\n" for module, _ in loaded).encode())
	for script in sorted(os.listdir(INSIDE)):
		if script == "init":
			archive.file("init", _read(os.path.join(INSIDE, script)))
		elif not script.endswith(".c"):
			archive.file("lib/" + script, _read(os.path.join(INSIDE, script)))
	path = place.file(name + ".cpio")
	with open(path, "wb") as file:
		file.write(archive.bytes())
	return path
