"""A switch: the guest and another one, a user-mode Linux, send each other 64 MiB through one process."""
import sys

from guestlib import initramfs, qemu, uml
from guestlib.devicejob import Device
from guestlib.place import Failure

ID = 1
BYTES = 64 << 20
OWN_MAC, PEER_MAC = "52:54:00:00:01:01", "52:54:00:00:01:02"
PORT = 7000
BOOT_SECONDS = 60


class Job(Device):
	KINDS = ("qemu", "uml")
	WHY_NOT = "it is a process of its own"
	MODULES = ("virtio_net",)
	SECONDS = 120
	ROWS = (
		("64 MiB to another guest, large frames", "", ("push",)),
		("64 MiB from it", "", ("pull",)),
		("16 connections at once", "", ("many",)),
		("after the other guest's port was taken down, nothing; up again, everything", "", ("cut", "mended")),
	)

	def start(self):
		self.found = []
		self.peer = None
		self.no_peer = uml.missing()
		peer = self.file("peer.sock")
		self.daemon = self.serve("switch", f"--mac={OWN_MAC}", f"--socket-path={peer}", f"--mac={PEER_MAC}", "--lock")
		if self.no_peer:
			print(f"switch: no other guest: {self.no_peer}", file=sys.stderr, flush=True)
			self.ROWS = ()
			return
		name = f"{self.kind}-peer"
		root = initramfs.build(self.place, name, uml.modules(), ("virtio_net",), ())
		self.peer = uml.boot(self.place, name, root, f"vio.job=peer vio.peer_mac={PEER_MAC} vio.peer_port={PORT}", [], [uml.device(peer, ID)])

	def qemu(self):
		# Without KVM, QEMU 7.2 crashes when a guest sets up MSI-X of a vhost-user network device (msix_set_vector_notifiers).
		vectors = "" if qemu.accelerator() == "kvm" else ",vectors=0"
		return ["-chardev", f"socket,id=switch-c,path={self.daemon.socket}", "-netdev", "vhost-user,id=switch-n,chardev=switch-c",
			"-device", f"virtio-net-pci,netdev=switch-n,mac={OWN_MAC},romfile={vectors}"]

	def uml(self):
		return [uml.device(self.daemon.socket, ID)]

	def words(self):
		return "" if self.no_peer else f"vio.switch_mac={OWN_MAC} vio.switch_port={PORT} vio.switch_bytes={BYTES}"

	def row(self, words, work):
		try:
			work()
			self.found.append((words, "", True, ""))
		except (Failure, OSError) as problem:
			self.found.append((words, "", False, str(problem)))

	def copied_once(self):
		"""Nearly all: a guest that has no buffers just then has its frames wait."""
		ports = [self.ctl("switch", "stats", f"device={i}")["switch"] for i in (0, 1)]
		out, direct = sum(p["out_frames"] for p in ports), sum(p["direct"] for p in ports)
		large = sum(p["out_bytes"] for p in ports) / out
		if direct < out / 2 or large < 3000:
			raise Failure(f"{direct} of {out} frames, of {large:.0f} bytes each")

	def known(self):
		listed = {a["mac"]: a["device"] for a in self.ctl("switch", "addresses")["addresses"]}
		if listed.get(OWN_MAC) != 0 or listed.get(PEER_MAC) != 1:
			raise Failure(f"it lists {listed}")

	def during(self, guest):
		if self.no_peer:
			return
		self.peer.wait_report("peer", "listening", BOOT_SECONDS)
		guest.wait_report("switch", "many", self.SECONDS + BOOT_SECONDS)
		self.row("most frames were copied once, from guest to guest, and were large", self.copied_once)
		self.row("which address is at which port is told", self.known)
		self.ctl("switch", "link", "device=1", "state=down")
		guest.wait_report("switch", "cut", self.SECONDS)
		self.ctl("switch", "link", "device=1", "state=up")
		guest.wait_report("switch", "mended", self.SECONDS)

	def finish(self, _guest):
		if self.peer:
			self.peer.kill()
		return self.found
