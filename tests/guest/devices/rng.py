"""An entropy source: the guest reads it, and the operator limits it while it runs."""
from guestlib import qemu
from guestlib.devicejob import Device


class Job(Device):
	KINDS = ("qemu", "vio")
	WHY_NOT = "its kernel has no driver"
	MODULES = ("virtio_rng",)
	ROWS = (
		("random bytes, while the operator limits the rate", "entropy-dev-1", ("random",)),
	)

	def start(self):
		self.daemon = self.serve("rng")

	def qemu(self):
		return qemu.device("rng", "rng", self.daemon.socket)

	def words(self):
		return f"vio.rng_wait={int(bool(self.machine))}"

	def during(self, guest):
		guest.wait_report("guest", "hello", self.SECONDS + 60)
		self.ctl("rng", "limit", "bytes=64K")
		if self.machine:            # which is there no longer than its guest
			guest.tell("")
