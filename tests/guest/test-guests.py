#!/usr/bin/env python3
# timeout: 400
"""Linux and SeaBIOS drive vio's devices: tests/guest/test-guests.py [--peer] [BUILD_DIR [WORD...]]

The main job of `make run` check by check, and what it has no time for: a daemon killed in the middle of writes, an
image that grows, a machine that is stopped, continued and moved to another QEMU, firmware that boots. Prints TAP. With
WORDs, only the groups whose function's name contains one of them; with --peer, qemu-storage-daemon serves the disks
(which fails some: a look at these scripts themselves).
"""
import os
import random
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
from guestlib import initramfs, qemu, uml                   # noqa: E402
from guestlib.daemons import Daemons                        # noqa: E402
from guestlib.devicejob import DeviceJob                    # noqa: E402
from guestlib.guest import Guest                            # noqa: E402
from guestlib.image import FS_MIB, MIB, TOTAL_MIB, Image    # noqa: E402
from guestlib.mainjob import RAW, MainJob                   # noqa: E402
from guestlib.place import Failure, Place, wait_until       # noqa: E402

SECONDS = 45
KILLS = 4
ROUNDS_BYTES = 8 * MIB      # as in inside/job-rounds


class Tap:
	def __init__(self):
		self.count = self.bad = 0

	def result(self, good, name, why=""):
		self.count += 1
		self.bad += not good
		if not good:
			for line in (why or "no reason given").splitlines():
				print(f"# {line}")
		print(f"{'ok' if good else 'not ok'} {self.count} - {name}", flush=True)

	def skip(self, name, why):
		self.count += 1
		print(f"ok {self.count} - {name} # SKIP {why}", flush=True)

	def plan(self):
		print(f"1..{self.count}")


def braces(ids, who):
	return f"{{{ids}; {who}}}" if ids else f"({who})"


class Bench:
	"""What a test needs: a place, the build, and short ways to a guest."""

	def __init__(self, place, build, peer):
		self.place, self.daemons = place, Daemons(place, build, peer)

	def boot(self, job, disks, devices, extra=()):
		root = initramfs.build(self.place, job, qemu.kernel()[1])
		words = f"vio.job={job} vio.disks={','.join(disks)} vio.rngs=0 vio.fs={FS_MIB}"
		guest = qemu.boot(self.place, job, root, words, devices, extra)
		guest.wait_report("guest", "hello", SECONDS)
		return guest

	def end(self, guest, *checks):
		"""Power-off, then the checks and the kernel's log are all good, and no daemon has died."""
		guest.wait_report("guest", "poweroff", SECONDS)
		guest.wait_end(SECONDS)
		for subject, check in (*checks, ("guest", "log")):
			good, detail = guest.verdict(subject, check)
			if not good:
				raise Failure(f"{subject} {check}: {detail}\n{guest.tail()}")
		self.daemons.must_live()


# ---- The main job ----

def main_job(tap, place, build, peer, kind, why, who):
	if why:
		tap.skip(f"the main job: a disk and an entropy source under {who}", why)
		return
	job = MainJob(place, build, kind, peer)
	job.finish(lambda text: None)
	for device, _, words, ids, good, reason in job.rows:
		tap.result(good, f"{device}: {words} {braces(ids, who)}", reason)


def main_qemu(tap, place, build, peer):
	main_job(tap, place, build, peer, "qemu", qemu.missing(), "Linux in QEMU")


def main_uml(tap, place, build, peer):
	main_job(tap, place, build, peer, "uml", uml.missing(), "user-mode Linux")


def devices(tap, place, build, kind, why, who):
	if why:
		tap.skip(f"every other device under {who}", why)
		return
	job = DeviceJob(place, build, kind)
	job.finish(lambda text: None)
	for device, _, words, ids, good, reason in job.rows:
		tap.result(good, f"{device}: {words} {braces(ids, who)}", reason)


def devices_qemu(tap, place, build, _peer):
	devices(tap, place, build, "qemu", qemu.missing(), "Linux in QEMU")


def devices_uml(tap, place, build, _peer):
	devices(tap, place, build, "uml", uml.missing(), "user-mode Linux")


# ---- One guest, one happening ----

def rounds_end(bench, guest, images):
	"""Tells a guest in job "rounds" to finish; what it wrote last must be in the images."""
	guest.tell("stop")
	bench.end(guest, *((role, "rounds") for role in images))
	for role, image in images.items():
		count = int(guest.verdict(role, "rounds")[1].split()[0])
		image.stamped(RAW, ROUNDS_BYTES, count)


def next_round(guest, role):
	"""Waits until the guest has begun a round that it had not begun before."""
	def count():
		return sum(subject == role for subject, _ in guest.reports)

	seen = count()
	guest.wait_until(lambda: count() > seen, SECONDS, f"a new round of {role}")


def crash(bench):
	images = {role: Image(bench.place, role, role) for role in ("split", "packed")}
	daemons = [bench.daemons.blk(role, image.path) for role, image in images.items()]
	# No event index here: the flags alone say when to notify. No indirect tables: each segment takes a descriptor.
	devices = [word for role, daemon in zip(images, daemons) for word in qemu.device(
		"blk", role, daemon.socket, ",num-queues=2,event_idx=off,indirect_desc=off,packed=" +
		("on" if role == "packed" else "off"), reconnect=True)]
	guest = bench.boot("rounds", images, devices)
	chance = random.Random(1)
	for _ in range(KILLS):
		for role in images:
			next_round(guest, role)
		for daemon in daemons:
			guest.pause(chance.uniform(0, 0.05))    # anywhere in the round
			daemon.crash()
		for daemon in daemons:
			daemon.start()
	for role in images:
		next_round(guest, role)
	rounds_end(bench, guest, images)


def grow(bench):
	image = Image(bench.place, "grow", "grow")
	daemon = bench.daemons.blk("grow", image.path)
	guest = bench.boot("grow", ["grow"], qemu.device("blk", "grow", daemon.socket))
	guest.wait_report("grow", "size", SECONDS)
	bigger = (TOTAL_MIB + 64) * MIB
	bench.place.run("truncate", "-s", str(bigger), image.path)
	guest.tell(str(bigger))
	bench.end(guest, ("grow", "grown"), ("grow", "stamp"), ("grow", "verify"))
	image.stamped(TOTAL_MIB * MIB, MIB, 9)


def stop_and_cont(bench):
	images = {role: Image(bench.place, role, role) for role in ("split", "packed")}
	devices = []
	for role, image in images.items():
		daemon = bench.daemons.blk(role, image.path)
		packed = "on" if role == "packed" else "off"
		devices += qemu.device("blk", role, daemon.socket, f",num-queues=2,packed={packed}")
	path = bench.place.file("monitor")
	guest = bench.boot("rounds", images, devices, qemu.monitor_arguments(path))
	monitor = qemu.Monitor(path)
	for _ in range(5):
		for role in images:
			next_round(guest, role)
		monitor.do("stop")
		monitor.do("cont")
	rounds_end(bench, guest, images)


def migrate(bench):
	"""
	The image cannot be open for writing twice, so the second daemon serves a copy, filled in the moment when the first
	machine has stopped and the second one has not begun. The buffer that the guest's driver has read meanwhile was
	written by the daemon: only its dirty log makes QEMU send those pages again.
	"""
	image, copy = Image(bench.place, "there", "move"), bench.place.file("copy.img")
	with open(copy, "wb") as file:
		file.truncate(TOTAL_MIB * MIB)
	there, here = bench.daemons.blk("there", image.path), bench.daemons.blk("here", copy)
	paths = {name: bench.place.file(name) for name in ("monitor1", "monitor2", "move")}
	guest = bench.boot("migrate", ["there"], qemu.device("blk", "disk", there.socket, ",num-queues=2"),
		qemu.monitor_arguments(paths["monitor1"]))
	guest.wait_report("guest", "ready-1", SECONDS)
	source = qemu.Monitor(paths["monitor1"])
	root = bench.place.file("migrate.cpio")
	target = Guest(bench.place, "migrated", qemu.command(
		guest.accel.lower(), root, "", qemu.device("blk", "disk", here.socket, ",num-queues=2"),
		("-serial", "stdio", *qemu.monitor_arguments(paths["monitor2"]), "-incoming", f"unix:{paths['move']}")))
	wait_until(lambda: os.path.exists(paths["move"]), 10, "the second QEMU's listening")

	def status():
		answer = source.do("query-migrate")
		if answer.get("status") in ("failed", "cancelled"):
			raise Failure(f"migration {answer['status']}: {answer.get('error-desc', 'QEMU gives no reason')}")
		return answer

	source.do("migrate-set-capabilities", capabilities=[{"capability": "pause-before-switchover", "state": True}])
	source.do("migrate-set-parameters", **{"downtime-limit": 1, "max-bandwidth": 80 * MIB})
	source.do("migrate", uri=f"unix:{paths['move']}")
	wait_until(lambda: status().get("ram", {}).get("dirty-sync-count", 0) >= 2, SECONDS, "a pass over all memory")
	source.do("migrate-set-parameters", **{"max-bandwidth": MIB})   # stay in the live phase while the guest reads
	guest.tell("read")
	guest.wait_report("guest", "filled-1", SECONDS)
	source.do("migrate-set-parameters", **{"downtime-limit": 2000, "max-bandwidth": 4096 * MIB})
	wait_until(lambda: status()["status"] == "pre-switchover", SECONDS, "the end of the live phase")
	bench.place.run("cp", "--sparse=always", "--no-preserve=all", image.path, copy)
	source.do("migrate-continue", state="pre-switchover")
	wait_until(lambda: status()["status"] == "completed", SECONDS, "migration")
	source.do("quit")
	target.tell("compare")
	bench.end(target, ("guest", "held"))
	image.path = copy
	image.stamped(RAW, 16 * MIB, 10)
	image.fsck()


def seabios(bench):
	"""A boot sector reads its neighbour by INT 13h and prints it on the serial port."""
	path = bench.place.file("boot.img")
	code = bytes.fromhex(
		"31c0 8ed8 8ed0 bc007c"     # xor ax,ax; mov ds,ax; mov ss,ax; mov sp,0x7c00
		"be307c b442 cd13 720e"     # mov si,0x7c30; mov ah,0x42 (extended read, drive in dl); int 0x13; jc end
		"be007e"                    # mov si,0x7e00
		"ac 84c0 7406"              # next: lodsb; test al,al; jz end
		"baf803 ee ebf5"            # mov dx,0x3f8; out dx,al; jmp next
		"f4 ebfd")                  # end: hlt; jmp end
	packet = bytes([16, 0, 1, 0, 0x00, 0x7e, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0])    # one sector from sector 1 to 0:0x7e00
	sector = (code.ljust(0x30, b"\0") + packet).ljust(510, b"\0") + b"\x55\xaa"
	with open(path, "wb") as file:
		file.write(sector + b"VIO bios boot ok sector 1 by INT 13h\r\n\0".ljust(512, b"\0"))
		file.truncate(MIB)
	disk = bench.daemons.blk("boot", path, queues=1)
	device = qemu.device("blk", "boot", disk.socket, ",bootindex=0")
	guest = Guest(bench.place, "seabios", [*qemu.machine("tcg", 1), *device, "-serial", "stdio"])
	guest.wait_report("bios", "boot", SECONDS)
	guest.kill()
	bench.daemons.must_live()


HAPPENINGS = (
	(crash, "kill -9 of the daemons in the middle of writes, without event index and indirect tables: the guest "
		"goes on and no write is lost {split-dev-11 packed-dev-8 core-dev-5; Linux in QEMU}"),
	(grow, "the image grows and the guest learns it {blk-dev-19 blk-dev-20; Linux in QEMU}"),
	(stop_and_cont, "stop and cont in the middle of writes (Linux in QEMU)"),
	(migrate, "the guest moves to another QEMU, and so do the pages that the device wrote meanwhile (Linux in QEMU)"),
	(seabios, "firmware boots from the disk (SeaBIOS)"),
)


def wanted(function, words):
	return not words or any(word in function.__name__ for word in words)


def main():
	peer = sys.argv[1:2] == ["--peer"]
	build, *words = sys.argv[1 + peer:] or ["build"]
	tap = Tap()
	for function in (main_qemu, main_uml, devices_qemu, devices_uml):
		if wanted(function, words):
			with Place() as place:
				try:
					function(tap, place, build, peer)
				except Failure as problem:
					tap.result(False, f"{function.__name__} begins", str(problem))
	for function, name in HAPPENINGS:
		if not wanted(function, words):
			continue
		if qemu.missing():
			tap.skip(name, qemu.missing())
			continue
		with Place() as place:
			bench = None
			try:
				bench = Bench(place, build, peer)
				function(bench)
				for daemon in bench.daemons.all:
					daemon.stop()
				tap.result(True, name)
			except (Failure, OSError) as problem:
				said = [f"{d.name} said: {d.words()}" for d in bench.daemons.all if d.words()] if bench else []
				tap.result(False, name, "\n".join([str(problem), *said]))
	tap.plan()
	return 1 if tap.bad else 0


if __name__ == "__main__":
	sys.exit(main())
