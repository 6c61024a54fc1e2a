"""The main job: what a guest is given, what it must report, what the host then finds. For QEMU and user-mode Linux."""
from . import initramfs, qemu, uml
from .daemons import Daemons
from .image import BALLAST_MIB, FS_MIB, MIB, Image
from .place import Failure

BOOT_SECONDS = 45
RAW = FS_MIB * MIB
TRIM_LOSS = BALLAST_MIB * MIB // 20	# the file system may use a little of what it trimmed
QEMU_ROLES = ("split", "packed")
BOTH = "Linux in QEMU, user-mode Linux"

# What the guest reports about each disk: (words for the table, requirements that it would catch broken, the checks).
DISK = (
	("identity, queues, features", "core-dev-23 blk-dev-1 blk-dev-2", ("serial", "queues", "features", "ring")),
	("driver unbound and bound again", "core-dev-8", ("rebind",)),
	("raw requests of 8 threads", "split-dev-13", ("stamp", "verify")),
	("write-through and write-back", "", ("wce",)),
	("discard, write zeroes", "blk-dev-25 blk-dev-27", ("zeroes", "discard")),
	("the host's files, checksums", "", ("mount", "known")),
	("files written, synced, remounted, compared", "", ("write", "remount", "compare", "umount")),
	("all of it after a reboot, fstrim", "core-dev-8",
		("mount-2", "known-2", "compare-2", "verify-2", "iszero-2", "trim", "umount-2")),
)
RNG_SLOW = ["--max-bytes=4096", "--period=20"]     # 4 KiB each 20 ms: the guest has to wait for it
PACKED_INSTEAD = {"split-dev-13": "packed-dev-6"}
RNG = (
	("random bytes from /dev/hwrng", "entropy-dev-1", ("random",)),
	("again after a reboot", "entropy-dev-1 core-dev-8", ("random-2",)),
)


def words(roles, rngs, queues):
	return (f"vio.job=main vio.disks={','.join(roles)} vio.queues={queues} vio.rngs={rngs} vio.fs={FS_MIB} "
		"vio.serial=vio-")


class MainJob:
	"""A guest with its disks, images and daemons; afterwards rows (device, driver, words, requirements, good, why)."""

	def __init__(self, place, build, kind, peer=False, machine=None):
		self.place, self.kind, self.rows, self.machine = place, kind, [], machine
		self.roles = ("uml",) if kind == "uml" else QEMU_ROLES
		prefix = machine.name + "-" if machine else ""
		self.images = {role: Image(place, prefix + role, role) for role in self.roles}
		self.daemons = Daemons(place, build, peer)
		if machine:
			self.guest = self._boot_vio()
			return
		self.disks = {role: self.daemons.blk(role, image.path, serial=f"vio-{role}")
			for role, image in self.images.items()}
		self.rngs = [] if peer or kind == "uml" else [self.daemons.rng("rng0"), self.daemons.rng("rng1", RNG_SLOW)]
		self.guest = self._boot_qemu() if kind == "qemu" else self._boot_uml()

	def _boot_vio(self):
		for role, image in self.images.items():
			self.machine.add("blk", role, [f"--blk-file={image.path}", "--num-queues=2", f"--serial=vio-{role}"], role)
		self.machine.add("rng", "rng0", [], QEMU_ROLES[0])
		self.machine.add("rng", "rng1", RNG_SLOW, QEMU_ROLES[1])
		self.rngs = ("rng0", "rng1")
		return self.machine.boot(words(self.roles, 2, 2), self.machine.root)

	def _boot_qemu(self):
		devices = []
		for role, daemon in self.disks.items():
			packed = ",packed=on" if role == "packed" else ""
			devices += qemu.device("blk", role, daemon.socket, f",num-queues=2{packed}")
		for number, daemon in enumerate(self.rngs):
			devices += qemu.device("rng", f"rng{number}", daemon.socket, ",packed=on" if number else "")
		root = initramfs.build(self.place, "qemu", qemu.kernel()[1])
		return qemu.boot(self.place, "qemu", root, words(self.roles, len(self.rngs), 2), devices)

	def _boot_uml(self):
		root = initramfs.build(self.place, "uml", uml.modules())
		return uml.boot(self.place, "uml", root, words(self.roles, 0, 1), [d.socket for d in self.disks.values()])

	def finish(self, say):
		"""Waits for both boots, stops the daemons, judges. Whatever goes wrong is a row, not an exception."""
		guest, seconds = self.guest, 6 * BOOT_SECONDS if self.machine else BOOT_SECONDS     # which may be within an emulated one
		try:
			say(f"{guest.name}: {guest.wait_report('guest', 'hello', seconds)} is up")
			guest.wait_report("guest", "reboot", seconds)
			say(f"{guest.name}: reboots; the daemons stay")
			guest.wait_report("guest", "poweroff", seconds)
			guest.wait_end(seconds)
			say(f"{guest.name}: has powered off")
			quiet = self._checks("guest", ("log", "log-2"))
			self._row("the guest", "runs to its end, its kernel complains about nothing", "", *quiet)
		except Failure as problem:
			self._row("the guest", "runs to its end", "", False, str(problem))
			guest.kill()
		if not self.machine:
			self._stop_daemons()
		for role, image in self.images.items():
			self._judge_disk(role, image)
		for number in range(len(self.rngs)):
			for text, ids, checks in RNG:
				device = f"rng, {QEMU_ROLES[number]} ring"
				self._row(device, text, ids, *self._checks(f"rng{number}", checks))

	def driver(self):
		if self.machine:
			return self.machine.driver(self.guest)
		return self.guest.kernel() + (f" in QEMU ({self.guest.accel})" if self.kind == "qemu" else ", user-mode")

	def _row(self, device, text, ids, good, why=""):
		self.rows.append((device, self.driver(), text, ids, good, why))

	def _checks(self, subject, checks):
		"""(all good, what is not) of some of the guest's reports."""
		found = [(check, *self.guest.verdict(subject, check)) for check in checks]
		bad = [f"{check}: {detail}" for check, good, detail in found if not good]
		return not bad, "; ".join(bad)

	def _stop_daemons(self):
		bad = []
		for daemon in self.daemons.all:
			try:
				daemon.stop()
			except Failure as problem:
				bad.append(str(problem))
		self._row("the daemons", "end in order on SIGTERM", "", not bad, "; ".join(bad))

	def _judge_disk(self, role, image):
		device = f"blk, {'split' if role == 'split' else 'packed'} ring"
		for text, ids, checks in DISK:
			if role != "split":
				ids = " ".join(PACKED_INSTEAD.get(name, name) for name in ids.split())
			self._row(device, text, ids, *self._checks(role, checks))
		zeroed, discarded = (RAW + 4 * MIB, 2 * MIB), (RAW + 8 * MIB, 4 * MIB)
		# (words, requirements, what the guest must have done for it to mean anything, the look)
		looks = (
			("host: fsck of the image", "", ("write",), image.fsck),
			("host: checksums of all files in the image", "", ("write",), image.files_hold),
			("host: raw blocks as stamped", "", ("stamp",), lambda: image.stamped(RAW, 4 * MIB, 5)),
			("host: zeroed range reads zero", "blk-dev-27", ("stamp", "zeroes"), lambda: image.zero(*zeroed)),
			("host: discarded space came back", "blk-dev-25", ("stamp", "discard"),
				lambda: image.released([discarded])),
			("host: trimmed space came back", "blk-dev-25", ("trim",),
				lambda: image.released(image.ballast, TRIM_LOSS)),
		)
		for text, ids, needs, look in looks:
			good, why = self._checks(role, needs)
			try:
				if good:
					look()
			except (Failure, OSError) as problem:
				good, why = False, str(problem)
			self._row(device, text, ids, good, why)
