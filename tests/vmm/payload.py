"""The guest of examples/guest in a machine, and the host's part of what it does: answers, echoes, keys."""
import fcntl
import os
import re
import select
import socket
import subprocess
import threading
import time

from guestlib.daemons import Daemons
from guestlib.place import Failure, Place, wait_until
from guestlib.qemu import Monitor, monitor_arguments

SECONDS = 240
ALL = ["balloon", "blk", "console", "fs", "input", "net", "rng", "scsi", "vsock"]
RESULT = re.compile(r"^(not ok|ok) \d+ - (?:pci |mmio )?(\S+): (.*)$")


def receive(peer):
	"""Nothing at its end, whichever way it ended."""
	try:
		return peer.recv(4096)
	except OSError:
		return b""


class Said:
	"""What the guest said on its serial port."""

	def __init__(self, lines, ended):
		self.lines, self.ended = lines, ended
		self.results = [m.groups() for m in map(RESULT.match, lines) if m]
		self.extra = {}		# what the host found, by device: sentences

	def wrong(self, device):
		"""Sentences about what did not go well with a device."""
		mine = [(good == "ok", what) for good, name, what in self.results if name == device]
		bad = [what for good, what in mine if not good] + self.extra.get(device, [])
		if not mine:
			bad.append("the guest said nothing of it")
		if device == "guest":
			bad += [line for line in self.lines if line.startswith("Bail out!")]
			if not any(line.startswith("1..") for line in self.lines):
				bad.append("it did not come to its end: " + " | ".join(self.lines[-3:]))
			if self.ended is not None:
				bad.append(self.ended)
		if bad:
			bad += ["said: " + line for line in self.lines if line.startswith(f"# {device}")]
		return bad


class Echo(threading.Thread):
	"""A Unix socket that sends back what it gets, to whoever comes."""

	def __init__(self, path):
		super().__init__(daemon=True)
		self.socket = socket.socket(socket.AF_UNIX)
		self.socket.bind(path)
		self.socket.listen()
		self.start()

	def run(self):
		while True:
			peer, _ = self.socket.accept()
			threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

	@staticmethod
	def serve(peer):
		with peer:
			while data := receive(peer):
				peer.sendall(data)


class Terminal(threading.Thread):
	"""The host's end of the console: waits for the guest's line, sends one, and keeps what comes after."""

	HELLO, LINE = b"a line of the guest\n", b"a line of the host\n"

	def __init__(self, path, listens=False):
		super().__init__(daemon=True)
		self.path, self.got = path, b""
		self.socket = socket.socket(socket.AF_UNIX)
		if listens:
			self.socket.bind(path)
			self.socket.listen()
		self.listens = listens
		self.start()

	def run(self):
		if self.listens:
			self.socket, _ = self.socket.accept()
		else:
			wait_until(self.connect, 20, f"the console's socket {self.path}")
		sent = False
		while data := receive(self.socket):
			self.got += data
			if not sent and self.HELLO in self.got:
				self.socket.sendall(self.LINE)
				sent = True

	def connect(self):
		try:
			self.socket.connect(self.path)
			return True
		except (FileNotFoundError, ConnectionRefusedError):
			return False

	def wrong(self):
		if self.got.endswith(self.HELLO + self.LINE):	# what a hostile guest wrote before is its own
			return []
		return [f"the host's end of the console got {self.got!r}"]


class Machine:
	"""What machines have in common: files, helpers, and how the guest is heard out."""

	devices = ALL

	@staticmethod
	def by_qemu(device):
		return False

	def __init__(self, place, build, guest, words, options):
		self.place, self.build, self.guest = place, build, guest
		self.words, self.options = words, options
		self.daemons = Daemons(place, build)
		self.monitor = self.has = self.stats = None
		with open(place.file("disk"), "wb") as disk:
			disk.truncate(4 << 20)
		with open(place.file("scsi"), "wb") as disk:
			disk.write(b"first of blocks\n")
			disk.truncate(1 << 20)
		os.mkdir(place.file("share"))
		with open(place.file("share/hello"), "wb") as file:
			file.write(b"read by a guest")

	def heard(self, line):
		"""Something the guest waits for."""
		if line.startswith("# input: press a key"):
			self.press()
		elif self.monitor and line.startswith("# balloon: has "):
			self.has = self.monitor.do("query-balloon")["actual"]
			self.monitor.do("qom-set", path="/machine/peripheral/balloon", property="guest-stats-polling-interval", value=1)
		elif self.monitor and line.endswith(" balloon: asks for statistics"):
			self.stats = self.monitor.do("qom-get", path="/machine/peripheral/balloon", property="guest-stats")["stats"]

	def press(self):
		for down in (True, False):
			key = {"down": down, "key": {"type": "qcode", "data": "b"}}
			self.monitor.do("input-send-event", events=[{"type": "key", "data": key}])

	def listen(self, process):
		"""The guest's lines, until the machine ends."""
		end = time.monotonic() + SECONDS
		lines, rest = [], b""
		while True:
			ready, _, _ = select.select([process.stdout], [], [], max(0, end - time.monotonic()))
			if not ready:
				return lines + [rest.decode(errors="replace")], f"it did not end within {SECONDS} s"
			data = os.read(process.stdout.fileno(), 65536)
			if not data:
				return lines, None
			rest += data
			*whole, rest = rest.split(b"\n")
			for line in whole:
				lines.append(line.decode(errors="replace").rstrip("\r"))
				self.heard(lines[-1])

	def judge(self, said):
		"""What only the host can see."""
		text = "\n".join(said.lines)
		for device, words in (("fs", "hello is read by a guest"), ("scsi", "begins with first of blocks"), ("input", "key 48")):
			if device in self.devices and words not in text:
				said.extra.setdefault(device, []).append(f"it did not say \"{words}\"")
		if "blk" in self.devices:
			with open(self.place.file("disk"), "rb") as disk:
				disk.seek(8 * 512)
				if disk.read(8) != (0x0123456789abcdef).to_bytes(8, "little"):
					said.extra.setdefault("blk", []).append("what it wrote is not in the image")

		if self.has is not None and self.has != (64 << 20) - 32 * 4096:
			said.extra.setdefault("balloon", []).append(f"the host counts {self.has} bytes of memory beside the balloon")
		if self.stats is not None and (self.stats["stat-free-memory"], self.stats["stat-total-memory"]) != (4321000, 1234000):
			said.extra.setdefault("balloon", []).append(f"the host was told {self.stats}")

	def fs(self, name):
		return self.daemons.serve("fs", name, ["--shared-dir=" + self.place.file("share"), "--tag=shared"]).socket

	def vsock(self, name):
		self.echo = Echo(self.place.file("calls_5000"))
		return self.daemons.serve("vsock", name, ["--guest-cid=7", "--uds-path=" + self.place.file("calls")]).socket


class Qemu(Machine):
	"""QEMU without KVM: its devices are its own, but for two that it has by vhost-user only."""

	@staticmethod
	def by_qemu(device):
		return device not in ("fs", "vsock")

	def arguments(self, bus, legacy):
		f = self.place.file
		return [
			"-device", f"virtio-balloon-{legacy},id=balloon",
			"-blockdev", f"driver=file,node-name=d,filename={f('disk')}", "-device", f"virtio-blk-{legacy},drive=d,serial=named",
			"-device", f"virtio-serial-{legacy}", "-chardev", f"socket,id=c,path={f('console')},server=on,wait=off",
			"-device", "virtserialport,chardev=c,name=words",
			"-chardev", f"socket,id=f,path={self.fs('shared')}", "-device", f"vhost-user-fs-{bus},chardev=f,tag=shared",
			"-device", f"virtio-keyboard-{bus}",
			"-netdev", "user,id=n", "-device", f"virtio-net-{legacy},netdev=n",
			"-device", f"virtio-rng-{legacy}",
			"-device", f"virtio-scsi-{legacy},id=s", "-blockdev", f"driver=file,node-name=e,filename={f('scsi')}",
			"-device", "scsi-hd,drive=e,bus=s.0",
			"-chardev", f"socket,id=v,path={self.vsock('sockets')}", "-device", f"vhost-user-vsock-{bus},chardev=v",
		]

	def run(self):
		f = self.place.file
		words = f"off=0xf4 devices={','.join(self.devices)} console=echo balloon=stats input=key {self.words} {self.where}"
		command = ["qemu-system-x86_64", *self.machine(), "-accel", "tcg", "-cpu", "max", "-m", "64M",
			"-object", "memory-backend-memfd,id=mem,size=64M,share=on", "-nodefaults", "-no-user-config", "-display", "none",
			"-serial", "stdio", "-no-reboot", "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
			*monitor_arguments(f("monitor")),
			*[a for o in self.options.split() if "=" in o for a in ("-global", o)],
			"-S", "-kernel", self.guest, "-append", words, *self.arguments(*self.buses())]
		terminal = Terminal(f("console"))
		with open(f("qemu"), "wb") as log:
			process = self.place.start(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
		wait_until(lambda: os.path.exists(f("monitor")) or process.poll() is not None, 20, "QEMU's monitor")
		if process.poll() is not None:
			raise Failure("QEMU ended: " + self.log())
		try:
			self.monitor = Monitor(f("monitor"))
		except OSError:
			process.wait()
			raise Failure("QEMU ended: " + self.log()) from None
		wait_until(lambda: terminal.ident and (terminal.got or self.connected(terminal)), 20, "the console's connection")
		self.monitor.do("cont")
		lines, ended = self.listen(process)
		if ended:
			self.place.kill(process)
		elif process.wait() not in (1, 3):		# isa-debug-exit's; 3: the guest was not content
			ended = f"QEMU ended with {process.returncode}: {self.log()}"
		said = Said(lines, ended)
		self.judge(said)
		said.extra["console"] = terminal.wrong()
		self.daemons.must_live()
		return said

	@staticmethod
	def connected(terminal):
		try:
			return terminal.socket.getpeername() is not None
		except OSError:
			return False

	def log(self):
		with open(self.place.file("qemu"), encoding="utf-8", errors="replace") as log:
			return log.read().strip()[-400:]


class QemuPci(Qemu):
	where = "transport=pci intx=20"

	@staticmethod
	def machine():
		return ["-M", "q35,memory-backend=mem"]

	def buses(self):
		return "pci", "pci-transitional" if "transitional" in self.options else "pci-non-transitional"


class QemuMmio(Qemu):
	where = "transport=mmio mmio=0xfeb00000,512,24 gsi=0 ioapic=0xfec10000"

	@staticmethod
	def machine():
		return ["-M", "microvm,memory-backend=mem,ioapic2=on", "-global", "virtio-mmio.force-legacy=false"]

	def buses(self):
		return "device", "device"


class Run(Machine):
	"""vio run: on KVM, with devices of its own."""

	def __init__(self, place, build, guest, words, options):
		super().__init__(place, build, guest, words, options)
		self.transport = "mmio" if "mmio" in options else "pci"
		self.control = place.file("control")

	def press(self):
		self.place.run(self.vio, "ctl", self.control + (".input0" if "--isolate" in self.options else ""), "key", "keys=b")

	def run(self):
		f = self.place.file
		self.vio = os.path.join(self.build, "cmd", "vio")
		self.echo = Echo(f("calls_5000"))
		words = f"transport={self.transport} devices={','.join(self.devices)} console=echo input=key {self.words}"
		command = [self.vio, "run", "--kernel=" + self.guest, "--append=" + words, "--memory=64M", f"--transport={self.transport}",
			"--control=" + self.control, "--balloon", f"--blk={f('disk')},serial=named", f"--console=socket={f('console')}",
			f"--fs={f('share')},tag=shared", "--input=keyboard", "--net=user", "--rng", f"--scsi=lun=0:0,,file={f('scsi')}",
			f"--vsock=7,uds-path={f('calls')}", *(o for o in self.options.split() if o.startswith("--"))]
		terminal = Terminal(f("console"), listens=True)
		with open(f("run"), "wb") as log:
			process = self.place.start(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
		lines, ended = self.listen(process)
		if ended:
			self.place.kill(process)
		elif process.wait():
			ended = f"vio run ended with {process.returncode}: {self.log()}"
		said = Said(lines, ended)
		self.judge(said)
		said.extra["console"] = terminal.wrong()
		return said

	def log(self):
		with open(self.place.file("run"), encoding="utf-8", errors="replace") as log:
			return log.read().strip()[-400:]

	@staticmethod
	def missing():
		"""Why there is no KVM for it, or None."""
		try:
			kvm = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
		except OSError as e:
			return f"/dev/kvm: {e.strerror}"
		try:
			vm = fcntl.ioctl(kvm, 0xae01, 0)		# KVM_CREATE_VM
		except OSError as e:
			return f"KVM makes no machines here: {e.strerror}"
		finally:
			os.close(kvm)
		os.close(vm)
		return None


def report(build, machines, words, why_not, of_device, who):
	"""The TAP of all machines (name, class, words for the guest, options, requirements), or of those that have a word in their name."""
	guest = os.path.join(build, "examples", "guest", "vio-guest")
	count = 0

	def result(bad, sentence):
		nonlocal count
		count += 1
		print(f"{'not ok' if bad else 'ok'} {count} - {sentence}", flush=True)
		for line in bad:
			print(f"#   {line}")

	if not os.path.exists(guest):
		why_not = "the guest is for x86-64, which this is not"
	if why_not:
		print(f"1..0 # SKIP {why_not}")
		return 0
	for name, kind, say, options, ids in machines:
		if words and not any(w in name for w in words):
			continue
		with Place() as place:
			try:
				said, why = kind(place, build, guest, say, options).run(), []
			except Failure as f:
				said, why = None, [str(f)]
		for device in kind.devices:
			own = of_device(device) if kind.by_qemu(device) else ""
			result(said.wrong(device) if said else ["there was no machine"],
				f"{name}: {device} is found, driven and stopped {{{' '.join([ids, own]).strip()}; {who}}}")
		result(said.wrong("guest") if said else why, f"{name}: the guest comes to its end, and no interrupt storms")
		if "hostile=" in say:
			result(said.wrong("hostile") if said else why, f"{name}: whatever the guest did, every device could be reset")
	print(f"1..{count}")
	return 0
