"""A SCSI host: sg3-utils examine its disks and its CD-ROM drive, which are formatted, mounted, plugged in and out, and reserved."""
import hashlib
import os
import random

from guestlib import iso, qemu, uml
from guestlib.devicejob import Device
from guestlib.place import Failure, wait_until

ID = 8
MIB = 1 << 20
SECONDS = 30
KEY = 0xABC


class Job(Device):
	MODULES = ("virtio_pci", "virtio_scsi", "sd_mod", "sr_mod", "sg", "isofs", "ext4", "crc32c_generic")
	PROGRAMS = ("mkfs.ext4", "sg_compare_and_write", "sg_get_config", "sg_get_lba_status", "sg_inq", "sg_logs", "sg_luns", "sg_modes",
		"sg_opcodes", "sg_persist", "sg_prevent", "sg_raw", "sg_readcap", "sg_requests", "sg_reset", "sg_start", "sg_sync", "sg_turs",
		"sg_unmap", "sg_verify", "sg_vpd", "sg_write_same", "sg_write_verify")
	SECONDS = 240
	ROWS = (
		("the units appear at their addresses, and no others", "scsi-dev-6d", ("units",)),
		("INQUIRY and every vital product data page, by sg_inq and sg_vpd", "scsi-dev-5 scsi-dev-6a", ("inquiry", "pages")),
		("READ CAPACITY 10 and 16 agree with the kernel", "", ("capacity",)),
		("REPORT LUNS, REPORT SUPPORTED OPERATION CODES and TASK MANAGEMENT FUNCTIONS", "", ("luns", "opcodes")),
		("mode pages are told, the write cache is switched off and on", "", ("modes", "cache")),
		("log pages, REQUEST SENSE, TEST UNIT READY", "", ("logs", "sense", "ready")),
		("what it does not know it refuses, in sense data", "", ("unknown", "beyond")),
		("protection information goes with the data", "", ("protected",)),
		("UNMAP and WRITE SAME, read back", "", ("unmap", "same")),
		("COMPARE AND WRITE, once it compares and once not", "", ("compare",)),
		("VERIFY, WRITE AND VERIFY, GET LBA STATUS, SYNCHRONIZE CACHE", "", ("verify", "status", "sync")),
		("a unit that is stopped is not ready, and is again when it is started", "", ("stop",)),
		("persistent reservations: register, reserve, release, preempt, clear", "", ("persist",)),
		("another initiator, which shares the unit: barred from it, then preempting", "", ("peer",)),
		("libiscsi's conformance tests, but for what only they ask for", "", ("conformance",)),
		("resets of the unit, the target and the host", "", ("reset",)),
		("a file system is made, written, mounted again and compared", "", ("format", "files", "again")),
		("eight readers and writers on all queues", "", ("parallel",)),
		("a CD-ROM is mounted and compared", "", ("cdrom",)),
		("a unit is plugged in, used, and unplugged while it runs", "", ("plugged", "hot", "unplugged")),
		("a unit that grows is larger in the guest", "", ("grown",)),
		("the guest ejects a medium, the host inserts another one", "", ("eject", "inserted")),
		("a reservation is left behind that outlives power", "", ("kept",)),
	)

	def programs(self):
		return (*self.PROGRAMS, "iscsi-test-cu") if self.kind == "uml" else self.PROGRAMS

	def start(self):
		# The conformance tests take too long on an emulated processor; and QEMU keeps T10_PI from its guests.
		without = {"qemu": (("conformance",), ("protected",)), "vio": (("conformance",),)}.get(self.kind, ())
		self.ROWS = tuple(row for row in self.ROWS if row[2] not in without)
		rng = random.Random(8)
		self.found = []
		for name, size in (("disk", 96 * MIB), ("raw", 32 * MIB), ("hot", 16 * MIB)):
			with open(self.file(name + ".img"), "wb") as image:
				image.truncate(size)
		for number in (1, 2):
			self.disc(number, rng)
		raw = f"file={self.file('raw.img')},serial=VIO-RAW,thin,rotational,shared,reservations"
		self.daemon = self.serve("scsi", f"--lun=0:0,file={self.file('disk.img')},serial=VIO-DISK,reservations,protect",
			f"--lun=0:1,{raw}",
			f"--lun=3:0,file={self.file('disc1.iso')},cdrom", "--num-queues=2", "--protection=linux")
		self.peer = self.serve("other-initiator", f"--lun=5:0,{raw}", "--num-queues=1", "--initiator=peer", device="scsi")

	def disc(self, number, rng):
		data = rng.randbytes(200000)
		sums = f"{hashlib.sha256(data).hexdigest()}  data.bin\n"
		with open(self.file(f"disc{number}.iso"), "wb") as image:
			image.write(iso.image(f"DISC{number}", {"DATA.BIN": data, "SUMS.TXT": sums.encode()}))

	def qemu(self):
		return qemu.device("scsi", "scsi", self.daemon.socket, ",num_queues=2") + qemu.device("scsi", "other-initiator", self.peer.socket, ",num_queues=1")

	def uml(self):
		return [uml.device(daemon.socket, ID) for daemon in (self.daemon, self.peer)]

	def words(self):
		return f"vio.scsi_key={KEY:x} vio.scsi_protected={int(self.kind != 'qemu')} vio.scsi_conformance={int(self.kind == 'uml')}"

	# ---- While the guest runs ----

	def luns(self):
		return {unit["lun"]: unit for unit in self.ctl("scsi", "luns")["luns"]}

	def row(self, words, ids, work):
		try:
			work()
			self.found.append((words, ids, True, ""))
		except (Failure, KeyError) as problem:
			self.found.append((words, ids, False, str(problem)))

	def counted(self):
		unit = self.luns()["0:0"]
		if not unit["commands"] or not unit["bytes_written"] or not unit["bytes_read"]:
			raise Failure(f"the counters stand at {unit}")

	def during(self, guest):
		guest.wait_report("scsi", "hotplug", self.SECONDS + 60)
		self.ctl("scsi", "add-lun", "lun=0:7", f"file={self.file('hot.img')}", "serial=VIO-HOT")
		guest.wait_report("scsi", "hot", SECONDS)
		self.ctl("scsi", "remove-lun", "lun=0:7")
		if "0:7" in self.luns():
			raise Failure("a unit that was removed is still listed")
		guest.wait_report("scsi", "unplugged", SECONDS)
		self.ctl("scsi", "resize", "lun=0:1", f"bytes={48 * MIB}")
		guest.wait_report("scsi", "eject", SECONDS)
		self.ctl("scsi", "insert", "lun=3:0", f"file={self.file('disc2.iso')}")
		guest.wait_report("scsi", "kept", SECONDS)
		self.row("the control socket counts commands and bytes", "", self.counted)

	# ---- Afterwards ----

	def reserved(self):
		unit = self.luns()["0:1"]
		if unit["registrants"] != 1 or unit["reservation"] != 5:
			raise Failure(f"{unit['registrants']} registrants, reservation of type {unit['reservation']}")
		if self.luns()["0:0"]["registrants"]:
			raise Failure("a registration that should not outlive power did")

	def restarted(self):
		self.daemon.stop()
		self.daemon.start()
		wait_until(lambda: os.path.exists(self.control("scsi")), 10, "the control socket")
		self.reserved()

	def finish(self, _guest):
		self.row("the host's fsck finds no fault, and the file that the guest wrote is in the image", "", self.image_holds)
		if not self.machine:
			self.row("reservations with APTPL outlive the daemon, others do not", "", self.restarted)
		return self.found

	def image_holds(self):
		self.place.run("fsck.ext4", "-f", "-n", self.file("disk.img"))
		out = self.file("dump")
		os.mkdir(out)
		self.place.run("debugfs", "-R", f"rdump /made {out}", self.file("disk.img"))
		with open(os.path.join(out, "made", "sums"), encoding="ascii") as sums:
			for line in sums:
				wanted, name = line.split()
				with open(os.path.join(out, "made", name), "rb") as file:
					if hashlib.sha256(file.read()).hexdigest() != wanted:
						raise Failure(f"{name} is not what the guest wrote")
