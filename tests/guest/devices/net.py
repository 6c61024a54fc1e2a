"""Networks: a guest reaches the host through user-mode networking and is reached, and uses a tap in a network of its own."""
import hashlib
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import urllib.request

from guestlib import qemu, uml
from guestlib.devicejob import Device
from guestlib.netserver import Server, words as numbers
from guestlib.place import Failure, wait_until

ID = 1
BYTES = 64 << 20
SECONDS = 60
USER_MAC, TAP_MAC = "52:54:00:00:00:01", "52:54:00:00:00:02"
ROOM = "10.9.0.1/24"
ROOM_PORT = 7000
LIBRARY = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "guestlib")


def room_missing():
	"""Why no network of our own can be made here, or None."""
	if not shutil.which("unshare"):
		return "unshare(1) is not installed"
	if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
		return "/dev/net/tun may not be used"
	tried = subprocess.run(["unshare", "-Urn", "true"], capture_output=True, text=True, check=False)
	return tried.stderr.strip() or "unshare(1) fails" if tried.returncode else None


def free_port():
	with socket.socket() as any_socket:
		any_socket.bind(("127.0.0.1", 0))
		return any_socket.getsockname()[1]


class Job(Device):
	MODULES = ("virtio_net", "af_packet")
	SECONDS = 240
	ROWS = (
		("DHCP gives the guest its address", "", ("dhcp",)),
		("64 MiB from the host's loopback, MTU 1500", "net-dev-1", ("pull-1500",)),
		("the same, MTU 9000", "", ("pull-9000",)),
		("64 MiB to the host's loopback", "", ("push",)),
		("wget and sha256sum agree with the host", "", ("wget",)),
		("20 connections at once", "", ("many",)),
		("nothing comes through while the operator cuts the link; afterwards it does", "", ("cut", "mended")),
	)
	ROOM_ROWS = (
		("a tap: 64 MiB each way, segmentation by the device, MTU 1500", "net-dev-2", ("tap-tso-1500",)),
		("a tap: 64 MiB each way, segmentation by the guest, MTU 1500", "", ("tap-plain-1500",)),
		("a tap: the same with MTU 9000", "", ("tap-tso-9000", "tap-plain-9000")),
		("a tap: two pairs of queues, 16 connections at once", "", ("tap-channels", "tap-many")),
	)
	STATE_ROWS = (
		("the guest sees the link go down and up", "", ("down", "up")),
	)

	def start(self):
		self.found = []
		self.server = Server()
		threading.Thread(target=self.server.serve_forever, daemon=True).start()
		self.forwarded = free_port()
		self.daemon = self.serve("net", f"--forward=tcp:{self.forwarded}:80", "--mtu=9000", f"--mac={USER_MAC}", "--queues=2",
			f"--pcap={self.file('pcap')}", "--pcap-snap=128")
		self.no_room = room_missing()
		if self.no_room:
			print(f"net: no tap in a network of its own: {self.no_room}", file=sys.stderr, flush=True)
		else:
			self.tap = self.serve_room()
			self.ROWS += self.ROOM_ROWS
		if self.kind != "qemu":     # which keeps the state of the link to itself
			self.ROWS += self.STATE_ROWS

	def serve_room(self):
		if self.machine:
			return self.give_room()
		name = f"{self.kind}-tap"
		return self.daemons.run(name, ["unshare", "-Urn", sys.executable, os.path.join(LIBRARY, "netroom.py"), ROOM, "9000", "2",
			str(ROOM_PORT), self.daemons.program, "net", f"--socket-path={self.place.file(name + '.sock')}",
			f"--control={self.control('tap')}", f"--mac={TAP_MAC}", "--queues=2"])

	def give_room(self):
		"""The machine inherits the tap's queues from the network that they are in."""
		here, there = socket.socketpair()
		self.room = here            # open as long as the network shall be
		self.place.start(["unshare", "-Urn", sys.executable, os.path.join(LIBRARY, "netroom.py"), ROOM, "9000", "2", str(ROOM_PORT),
			"give", str(there.fileno())], pass_fds=[there.fileno()])
		there.close()
		here.settimeout(SECONDS)
		taps = socket.recv_fds(here, 16, 2)[1]
		for tap in taps:
			self.machine.give(tap)
		return self.serve("tap", f"--mac={TAP_MAC}", "--mtu=9000", "--queues=2", *(f"--tap-fd={tap}" for tap in taps))

	def nics(self):
		yield "net", self.daemon, USER_MAC
		if not self.no_room:
			yield "tap", self.tap, TAP_MAC

	def qemu(self):
		# Without KVM, QEMU 7.2 crashes when a guest sets up MSI-X of a vhost-user network device (msix_set_vector_notifiers).
		words, vectors = [], ",vectors=6" if qemu.accelerator() == "kvm" else ",vectors=0"
		for name, daemon, mac in self.nics():
			words += ["-chardev", f"socket,id={name}-c,path={daemon.socket}",
				"-netdev", f"vhost-user,id={name}-n,chardev={name}-c,queues=2",
				"-device", f"virtio-net-pci,netdev={name}-n,mac={mac},mq=on,romfile=,host_mtu=9000{vectors}"]
		return words

	def uml(self):
		return [uml.device(daemon.socket, ID) for _, daemon, _ in self.nics()]

	def words(self):
		room = "" if self.no_room else f" vio.net_tap={TAP_MAC}"
		total = hashlib.sha256(numbers(0, BYTES)).hexdigest()
		return f"vio.net_state={int(self.kind != 'qemu')} vio.net_sum={total} vio.net_user={USER_MAC} vio.net_port={self.server.port} vio.net_bytes={BYTES} vio.net_room={ROOM_PORT}{room}"

	# ---- While the guest runs ----

	def row(self, words, work):
		try:
			work()
			self.found.append((words, "", True, ""))
		except (Failure, OSError) as problem:
			self.found.append((words, "", False, str(problem)))

	def counts(self, daemon):
		"""The sums over a device's pairs, and how many pairs have moved frames both ways."""
		pairs = self.ctl(daemon, "stats")["net"]["pairs"]
		sums = {name: sum(pair[name] for pair in pairs) for name in pairs[0]}
		sums["busy"] = sum(pair["tx_frames"] > 100 for pair in pairs)
		return sums

	def call_guest(self):
		with urllib.request.urlopen(f"http://127.0.0.1:{self.forwarded}/hello", timeout=SECONDS) as answer:
			if answer.read() != b"from the guest\n":
				raise Failure("the guest's page is not what it wrote")

	def add_and_remove(self):
		port = free_port()
		self.ctl("net", "add-forward", f"forward=tcp:{port}:80")
		with urllib.request.urlopen(f"http://127.0.0.1:{port}/hello", timeout=SECONDS) as answer:
			answer.read()
		self.ctl("net", "remove-forward", f"forward=tcp:{port}:80")
		try:
			socket.create_connection(("127.0.0.1", port), timeout=SECONDS).close()
		except ConnectionRefusedError:
			return
		raise Failure("the port is still open after the forward was removed")

	def used(self, name, wanted):
		sums = self.counts("tap")
		if bool(sums["tx_gso"] > self.before["tx_gso"]) != wanted:
			raise Failure(f"{sums['tx_gso'] - self.before['tx_gso']} large frames from the guest during {name}")
		if sums["tx_bytes"] - self.before["tx_bytes"] < BYTES:
			raise Failure(f"only {sums['tx_bytes'] - self.before['tx_bytes']} bytes from the guest")
		self.before = sums

	def during(self, guest):
		guest.wait_report("net", "listening", self.SECONDS)
		self.row("the host reaches the guest's port through a forward", self.call_guest)
		self.row("a forward is added and removed while it runs", self.add_and_remove)
		self.ctl("net", "link", "state=down")
		guest.wait_report("net", "cut", SECONDS)
		self.ctl("net", "link", "state=up")
		guest.wait_report("net", "mended", SECONDS)
		if self.no_room:
			return
		self.before = self.counts("tap")
		for name, wanted in (("tap-tso-1500", True), ("tap-plain-1500", False), ("tap-tso-9000", True), ("tap-plain-9000", False)):
			guest.wait_report("net", name, self.SECONDS)
			self.row(f"{name}: the device's counters agree", lambda name=name, wanted=wanted: self.used(name, wanted))
			guest.tell("")
		guest.wait_report("net", "tap-many", self.SECONDS)
		self.row("both pairs of queues were used", self.both_used)

	def both_used(self):
		if self.counts("tap")["busy"] != 2:
			raise Failure(f"the pairs have {self.ctl('tap', 'stats')['net']['pairs']}")

	# ---- Afterwards ----

	def captured(self):
		"""Frames of the capture file, each cut to 128 bytes."""
		with open(self.file("pcap"), "rb") as file:
			data = file.read()
		magic, major, minor, _, _, snap, kind = struct.unpack("<IHHiIII", data[:24])
		if (magic, major, minor, snap, kind) != (0xA1B23C4D, 2, 4, 128, 1):
			raise Failure("the capture file's head is not one of nanosecond pcap")
		at, frames = 24, []
		while at < len(data):
			_, nanoseconds, here, length = struct.unpack("<IIII", data[at:at + 16])
			if here != min(length, 128) or nanoseconds >= 10 ** 9:
				raise Failure(f"the capture file has no record at {at}")
			frames.append(data[at + 16:at + 16 + here])
			at += 16 + here
		return frames

	def readable(self):
		"""Some are of either direction, and the guest's ask for the host's port."""
		frames = self.captured()
		mac = bytes.fromhex(USER_MAC.replace(":", ""))
		sent = [f for f in frames if f[6:12] == mac]
		if not sent or len(sent) == len(frames):
			raise Failure(f"{len(sent)} of {len(frames)} frames are the guest's")
		port = struct.pack(">H", self.server.port)
		if not any(f[12:14] == b"\x08\x00" and f[23] == 6 and f[36:38] == port for f in sent):
			raise Failure("the guest's connections are not in it")

	def finish(self, _guest):
		if not self.machine:
			self.daemon.stop()
			self.daemons.all.remove(self.daemon)
		self.row("the capture file is pcap, with the frames of both directions", self.readable)
		return self.found
