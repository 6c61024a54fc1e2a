#!/usr/bin/env python3
# timeout: 400
"""The floors of docs/design.md, checked: tests/floors/test-floors.py [BUILD]

A file includes its own room and lower floors only; the freestanding floors need no libc but four functions, on five
machines; every header stands alone in C11 and C++17; external symbols begin with vio_; no file is a mile long.

A rule that nobody can break proves nothing, so each is tried on a planted violation as well.
"""
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT / "build"
TARGETS = ["x86_64", "aarch64", "riscv64", "s390x"]
LONGEST = 900	# lines

# What a room may include beside itself: other rooms, or single headers of them.
RING = ["vio/spec", "vio/ring"]
CORES = ["vio/device/dev.h", "vio/device/state.h", "vio/driver/port.h"]	# a wire sees the device core and the driver core, never a device
MAY_INCLUDE = {
	"vio/spec": [],
	"vio/ring": ["vio/spec"],
	"vio/backend": RING,
	"vio/device": [*RING, "vio/backend"],
	"vio/driver": [*RING, "vio/backend"],
	"vio/transport": [*RING, "vio/backend", *CORES],
	"vio/host": [*RING, "vio/backend"],
	"vio/vhost": [*RING, "vio/backend", "vio/host", *CORES],
	"vmm": ["vio"],
	"cmd": ["vio", "vmm"],
}
FREESTANDING = ["vio/spec", "vio/ring", "vio/backend", "vio/device", "vio/driver", "vio/transport"]
HEADERS_ONLY = ["vio/spec", "vio/backend"]
FREESTANDING_HEADERS = {"stdbool.h", "stddef.h", "stdint.h"}
LIBC = {"memcpy", "memmove", "memset", "memcmp"}
OF_THE_LINKER = {"_GLOBAL_OFFSET_TABLE_"}	# where position-independent code has its addresses; every linker makes it


def includes(root):
	for room, allowed in MAY_INCLUDE.items():
		for path in sorted((root / room).rglob("*.[ch]")):
			for n, line in enumerate(path.read_text().splitlines(), 1):
				if m := re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line):
					if why := forbidden(room, allowed, m[1], m[2]):
						yield f"{path.relative_to(root)}:{n}: includes {m[2]}: {why}"


def forbidden(room, allowed, quote, what):
	ours = what.split("/")[0] in ("vio", "vmm", "cmd", "tests", "fuzz", "bench", "examples")
	if room.startswith("vio/") and quote == '"':
		return "write <vio/...>, from the root"
	if not ours:
		return "no libc on this floor" if room in FREESTANDING and what not in FREESTANDING_HEADERS else None
	if any(what == a or what.startswith(a + "/") for a in [room, *allowed]):
		return None
	return f"{room} may include {', '.join(allowed) or 'nothing'} and itself"


def sources_in_header_rooms(root):
	for room in HEADERS_ONLY:
		for path in sorted((root / room).rglob("*.c")):
			yield f"{path.relative_to(root)}: {room} is headers only"


def long_files(root):
	for top in ("vio", "vmm", "cmd", "tests", "fuzz", "bench", "examples", "scripts"):
		for path in sorted((root / top).rglob("*")):
			if path.is_file() and path.suffix in (".c", ".h", ".py", ".sh", ".pml", ""):
				n = path.read_bytes().count(b"\n")
				if n > LONGEST:
					yield f"{path.relative_to(root)}: {n} lines, more than {LONGEST}: two ideas?"


# ---- Freestanding ----

def call(*command):
	done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
	return done.returncode, done.stdout, done.stderr


def compiler(name, target):
	if name == "gcc":
		return ["gcc"]
	# Atomic operations in line: the out-of-line ones live in libgcc, which is not there.
	return ["clang", f"--target={target}-linux-gnu", *(["-mno-outline-atomics"] if target == "aarch64" else [])]


def freestanding(root, name, target, work):
	"""What the freestanding floors need beyond the four memory functions."""
	objects = []
	for path in sorted(p for room in FREESTANDING for p in (root / room).rglob("*.c")):
		objects.append(work / (str(path.relative_to(root)).replace("/", "_") + ".o"))
		status, _, err = call(*compiler(name, target), "-std=gnu11", "-O2", "-Wall", "-Werror", "-fno-strict-aliasing",
			"-ffreestanding", "-nostdlib", "-fno-stack-protector", "-I", root, "-c", path, "-o", objects[-1])
		if status:
			yield from (f"{name} for {target}: {line}" for line in err.splitlines()[:10])
	if not objects:
		yield "there is nothing to compile"
	objects = [o for o in objects if o.exists()]
	linked = link(objects, target, work)
	if isinstance(linked, str):
		yield f"{name} for {target}: {linked}"
		linked = objects
	undefined, defined = symbols(linked)
	for symbol in sorted(undefined - defined - LIBC - OF_THE_LINKER):
		yield f"{name} for {target}: needs {symbol}"


def link(objects, target, work):
	"""One object of all, where the linker knows the machine (lld does not know s390x); otherwise the objects."""
	if target == "s390x":
		return objects
	whole = work / "whole.o"
	linker = ["gcc", "-nostdlib", "-r"] if target == "x86_64" else ["ld.lld", "-r"]
	status, _, err = call(*linker, "-o", whole, *objects)
	return [whole] if status == 0 else err


def symbols(objects):
	undefined, defined = set(), set()
	_, out, _ = call("llvm-nm", "-g", *objects)
	for line in out.splitlines():
		if m := re.match(r"\s*U (\S+)$", line):
			undefined.add(m[1])
		elif m := re.match(r"[0-9a-f]+ [A-TV-Z] (\S+)$", line):
			defined.add(m[1])
	return undefined, defined


# ---- Headers and symbols ----

def headers(root, command):
	"""Each header of the library compiles as the only one; those for programs do so in C++ too."""
	for path in sorted((root / "vio").rglob("*.h")):
		name = path.relative_to(root)
		private = name.parent.name != "spec" and "VIO_BEGIN_DECLS" not in path.read_text()
		if private and command[0].endswith("++"):
			continue	# nobody outside its room includes it
		done = subprocess.run([*command, "-Wall", "-Wextra", "-Wno-missing-field-initializers", "-Werror", "-D_GNU_SOURCE",
			"-I", root, "-fsyntax-only", "-"],
			input=f"#include <{name}>\n#include <{name}>\n", capture_output=True, text=True)
		if done.returncode:
			yield f"{name}: " + "; ".join(l for l in done.stderr.splitlines() if "error" in l)[:400]


def foreign_symbols(archives):
	for archive in archives:
		if not archive.exists():
			yield f"{archive.name} is not there"
			continue
		_, out, _ = call("llvm-nm", "-g", "--defined-only", archive)
		for line in out.splitlines():
			m = re.match(r"[0-9a-f]+ [A-Z] (\S+)$", line)
			if m and not m[1].startswith("vio_"):
				yield f"{archive.name}: {m[1]} does not begin with vio_"


# ---- The tests ----

count = 0


def result(sentence, complaints, planted=None):
	"""Complaints are wanted when a violation was planted: one that holds this text."""
	global count
	count += 1
	complaints = list(complaints)
	good = not complaints if planted is None else any(planted in c for c in complaints)
	print(f"{'ok' if good else 'not ok'} {count} - {sentence}")
	if not good:
		for c in complaints[:40] or [f"nobody complained of {planted}"]:
			print(f"#  {c}")
	sys.stdout.flush()


def plant(work, files):
	shutil.rmtree(work / "planted", ignore_errors=True)
	for name, text in files.items():
		path = work / "planted" / name
		path.parent.mkdir(parents=True, exist_ok=True)
		path.write_text(text)
	return work / "planted"


def planted_includes(work):
	for file, include, why in [
		("vio/ring/x.c", "<vio/device/dev.h>", "vio/ring may include vio/spec"),
		("vio/device/x.c", "<vio/driver/port.h>", "vio/device may include"),
		("vio/driver/x.c", "<vio/device/dev.h>", "vio/driver may include"),
		("vio/device/x.c", "<vio/host/loop.h>", "vio/device may include"),
		("vio/transport/x.c", "<vio/device/blk.h>", "vio/transport may include"),
		("vio/vhost/x.c", "<vio/device/blk.h>", "vio/vhost may include"),
		("vio/spec/x.h", "<vio/ring/mem.h>", "vio/spec may include nothing"),
		("vio/driver/x.c", "<stdlib.h>", "no libc"),
		("vio/host/x.c", '"loop.h"', "from the root"),
		("vmm/x.c", "<cmd/cmd.h>", "vmm may include"),
	]:
		root = plant(work, {file: f"#include {include}\n"})
		result(f"a planted {file} that includes {include} is found", includes(root), planted=why)


def main():
	checks = [("gcc", "x86_64")] + [("clang", t) for t in TARGETS]
	# Each language once, and each compiler: what one takes for C the other will, or the build would have told.
	languages = [["clang", "-x", "c", "-std=c11"], ["g++", "-x", "c++", "-std=c++17"]]
	with tempfile.TemporaryDirectory() as name:
		work = Path(name)
		result("a file includes its own room and lower floors only", includes(ROOT))
		planted_includes(work)
		result("spec and backend are headers only", sources_in_header_rooms(ROOT))
		result("a planted source in backend is found", sources_in_header_rooms(plant(work, {"vio/backend/x.c": ""})),
			planted="headers only")
		for cc, target in checks:
			objects = Path(tempfile.mkdtemp(dir=work))
			result(f"ring, device, driver and transport need four functions: {cc}, {target}",
				freestanding(ROOT, cc, target, objects))
		for target in ("x86_64", "aarch64", "s390x"):
			root = plant(work, {"vio/ring/x.c": "void *malloc(unsigned long);\nvoid *vio_x(void) { return malloc(1); }\n"})
			result(f"a planted call of malloc is found: {target}",
				freestanding(root, "clang", target, Path(tempfile.mkdtemp(dir=work))), planted="needs malloc")
		for command in languages:
			result(f"each header compiles alone and twice: {command[0]} {command[-1]}", headers(ROOT, command))
		bad = {"vio/ring/x.h": "static inline uint8_t vio_x(void) { return 1; }\n"}
		result("a planted header that needs another one is found", headers(plant(work, bad), languages[0]), planted="vio/ring/x.h")
		bad = {"vio/ring/x.h": "#ifndef X\n#define X\n/* VIO_BEGIN_DECLS */\nint vio_x(int class);\n#endif\n"}
		result("a planted header that is not C++ is found", headers(plant(work, bad), languages[1]), planted="vio/ring/x.h")
		result("external symbols begin with vio_", foreign_symbols([BUILD / "libvio.a", BUILD / "libvio-core.a"]))
		plant(work, {"x.c": "int viola(void);\nint viola(void) { return 1; }\n"})
		call("gcc", "-c", work / "planted/x.c", "-o", work / "x.o")
		call("ar", "rcs", work / "libx.a", work / "x.o")
		result("a planted symbol is found", foreign_symbols([work / "libx.a"]), planted="viola")
		result(f"no file is longer than {LONGEST} lines", long_files(ROOT))
		result("a planted long file is found", long_files(plant(work, {"cmd/x.c": "\n" * (LONGEST + 1)})), planted="two ideas")
	print(f"1..{count}")


main()
