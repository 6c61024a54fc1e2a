"""Disk images: made by the host with known contents, judged by the host after a guest has used them.

	0             an ext4 file system: known/ with checksums from the host; the guest adds made/ with its own
	FS_MIB        raw space, which the guest stamps with a pattern, and then zeroes and discards in part
"""
import array
import hashlib
import os
import random
import sys

from .place import Failure

MIB = 1 << 20
FS_MIB = 192
TOTAL_MIB = 256
BALLAST_MIB = 24            # a file that the guest deletes and trims
SEED_SHIFT = 48             # as in inside/guestio.c


class Image:
	def __init__(self, place, name, seed):
		self.place, self.path = place, place.file(name + ".img")
		self.known = place.file(name + ".known")
		self._make_known(random.Random(seed))
		with open(self.path, "wb") as image:
			image.truncate(TOTAL_MIB * MIB)
		place.run("mkfs.ext4", "-q", "-F", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0",
			"-d", self.known, self.path, f"{FS_MIB}M")
		self.ballast = self._extents("/known/ballast")
		if sum(length for _, length in self.ballast) != BALLAST_MIB * MIB:
			raise Failure(f"debugfs does not say where the ballast of {name} lies")

	def _make_known(self, rng):
		known = os.path.join(self.known, "known")
		os.makedirs(os.path.join(known, "deep", "er"))
		names = {"text": 5000, "pages": 3 * MIB, "odd": 1234567, "deep/er/file": 70000, "empty": 0}
		with open(os.path.join(known, "sums"), "w", encoding="ascii") as sums:
			for name, size in names.items():
				data = rng.randbytes(size)
				with open(os.path.join(known, name), "wb") as file:
					file.write(data)
				sums.write(f"{hashlib.sha256(data).hexdigest()}  {name}\n")
		with open(os.path.join(known, "ballast"), "wb") as file:
			file.write(rng.randbytes(BALLAST_MIB * MIB))

	def _debugfs(self, command):
		return self.place.run("debugfs", "-R", command, self.path)

	def _extents(self, path):
		"""Where a file of the file system lies: (offset, length) in bytes."""
		found = []
		for line in self._debugfs(f"stat {path}").splitlines():
			for part in line.split(", "):
				# "(0-6143):34816-40959", or "(0):34816"
				if part.startswith("(") and "):" in part and part[1].isdigit():
					first, _, last = part.partition("):")[2].partition("-")
					found.append((int(first) * 4096, (int(last or first) - int(first) + 1) * 4096))
		return found

	# What the host finds afterwards. Each answers with a sentence or raises Failure.

	def fsck(self):
		self.place.run("fsck.ext4", "-f", "-n", self.path)
		return "no fault found"

	def files_hold(self):
		"""The checksums that the guest wrote down, and the host's own, hold for the files in the image."""
		out = self.place.file("dump-" + os.path.basename(self.path))
		os.mkdir(out)
		self._debugfs(f"rdump /known /made {out}")
		held = 0
		for folder in ("known", "made"):
			with open(os.path.join(out, folder, "sums"), encoding="utf-8") as sums:
				for line in sums:
					want, name = line.rstrip("\n").split("  ", 1)
					with open(os.path.join(out, folder, name), "rb") as file:
						if hashlib.sha256(file.read()).hexdigest() != want:
							raise Failure(f"{folder}/{name} is not what was written")
					held += 1
		if held < 100:
			raise Failure(f"the guest wrote only {held} files")
		return f"{held} files as written"

	def _read(self, start, length):
		with open(self.path, "rb") as image:
			image.seek(start)
			return image.read(length)

	def stamped(self, start, length, seed):
		words = array.array("Q", range((seed << SEED_SHIFT) + start, (seed << SEED_SHIFT) + start + length, 8))
		if sys.byteorder == "big":
			words.byteswap()
		want, got = words.tobytes(), self._read(start, length)
		if got != want:
			at = next(i for i in range(0, length, 8) if got[i:i + 8] != want[i:i + 8])
			held, right = got[at:at + 8].hex(), want[at:at + 8].hex()
			raise Failure(f"byte {start + at} of the image holds {held}, not {right}")
		return f"{length // MIB} MiB as stamped"

	def zero(self, start, length):
		if any(self._read(start, length)):
			raise Failure(f"bytes {start} to {start + length} of the image are not all zero")
		return f"{length // MIB} MiB of zeroes"

	def allocated(self, start, length):
		"""How many bytes of a range the host's file system really keeps."""
		kept, at, end = 0, start, start + length
		with open(self.path, "rb") as image:
			while at < end:
				try:
					data = os.lseek(image.fileno(), at, os.SEEK_DATA)
				except OSError:
					break       # nothing but a hole up to the end
				if data >= end:
					break
				at = min(os.lseek(image.fileno(), data, os.SEEK_HOLE), end)
				kept += at - data
		return kept

	def released(self, ranges, allowed=0):
		"""Discarded ranges take no space any more."""
		total = sum(length for _, length in ranges)
		kept = sum(self.allocated(start, length) for start, length in ranges)
		if kept > allowed:
			raise Failure(f"of {total >> 10} KiB that were discarded, {kept >> 10} KiB still take space")
		return f"{(total - kept) // MIB} MiB given back to the host"
