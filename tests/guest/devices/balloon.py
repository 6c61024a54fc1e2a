"""Balloons: memory leaves the guest and the file that it is in, and comes back; statistics, hints, freed memory reported.

Two devices for one Linux: only one may get reports, which would take away what the other is measured by. So the guest binds
its driver to the one after the other.
"""
import os

from guestlib import uml
from guestlib.devicejob import Device
from guestlib.place import Failure, wait_until

ID = 5
MIB = 1 << 20
TARGET = 32 * MIB
SECONDS = 30


class Job(Device):
	KINDS = ("uml", "vio")
	WHY_NOT = "QEMU has no front end for it"
	MODULES = ("virtio_balloon",)
	ROWS = (
		("the driver's features: all but reports with the one, reports with the other", "", ("features",)),
		("inflated, the guest has less memory in all, and less that is free", "", ("smaller",)),
		("deflated, it has as much as before", "", ("larger",)),
		("and writes all over it", "", ("used",)),
		("the driver is taken away and comes back with an empty balloon", "", ("rebound",)),
		("inflated with deflate-on-oom too", "", ("last",)),
	)

	def start(self):
		self.found = []
		self.plain = self.serve("plain", "--reporting=off", device="balloon")
		self.reports = self.serve("reports", "--deflate-on-oom", device="balloon")

	def uml(self):
		return [uml.device(daemon.socket, ID) for daemon in (self.plain, self.reports)]

	def words(self):
		# Free pages hold zeroes, so that the driver takes PAGE_POISON. Without it, it sets its features a second time, and
		# user-mode Linux, which has lost bit 30 by then, couldn't disable the queues when the driver is taken away.
		return f"vio.balloon={TARGET >> 10} init_on_free=1"

	# ---- What the host sees ----

	def memory_file(self, guest):
		"""The file that the guest's memory is, which has no name any more."""
		fds = f"/proc/{guest.process.pid}/fd"
		for fd in os.listdir(fds):
			path = os.path.join(fds, fd)
			if os.readlink(path).endswith(" (deleted)") and os.stat(path).st_size > TARGET:
				return path
		raise Failure("the machine has no memory file")

	def taken(self):
		"""Bytes of the host's that guest memory takes."""
		return os.stat(self.memory).st_blocks * 512

	def stats(self, daemon):
		return self.ctl(daemon, "stats")["balloon"]

	def row(self, words, ids, good, why):
		self.found.append((words, ids, good, why))

	def settle(self, daemon, size):
		self.ctl(daemon, "balloon", f"target={size}")
		wait_until(lambda: self.stats(daemon)["actual"] == size, SECONDS, f"the balloon got to {size >> 20} MiB")

	# ---- The host's part ----

	def inflate(self, guest):
		guest.wait_report("balloon", "filled", SECONDS)
		before = self.taken()
		self.settle("plain", TARGET)
		after, stats = self.taken(), self.stats("plain")
		self.row("inflated at run time: as many pages as were asked for, and none refused", "",
			stats["inflated"] == TARGET and not stats["failed"], f"{stats}")
		# The guest goes on meanwhile, and some pages were never touched: most of it must show.
		self.row("and the host has them: the file that guest memory is takes less", "", before - after > TARGET * 3 // 4,
			f"{before >> 20} MiB before, {after >> 20} MiB after {TARGET >> 20} MiB went")
		self.row("as the daemon says itself", "", TARGET * 3 // 4 < stats["came_back"] <= TARGET, f"came_back {stats['came_back']}")

	def ask_statistics(self, guest):
		count = self.stats("plain")["statistics_count"]
		self.ctl("plain", "statistics")
		wait_until(lambda: self.stats("plain")["statistics_count"] > count, SECONDS, "statistics arrived")
		told = self.stats("plain")["statistics"]
		total = int(guest.wait_report("balloon", "smaller", SECONDS).split()[0]) << 10
		self.row("statistics arrive when they are asked for, and say what the guest's /proc/meminfo says", "balloon-dev-5",
			told.get("total") == total and 0 < told.get("free", 0) < total, f"{told}, where the guest has {total}")

	def deflate(self, guest):
		before = self.taken()
		self.settle("plain", 0)
		stats = self.stats("plain")
		self.row("deflated at run time, page by page", "", stats["deflated"] == TARGET, f"{stats}")
		guest.wait_report("balloon", "used", SECONDS)
		after = self.taken()
		self.row("and what the guest writes there takes the host's memory again", "", after - before > TARGET // 2,
			f"{before >> 20} MiB before, {after >> 20} MiB after")

	def hint(self):
		self.ctl("reports", "hints")
		wait_until(lambda: not self.stats("reports")["hinting"], SECONDS, "the round of hints ended")
		hinted = self.stats("reports")["hinted"]
		self.row("a round of hints comes to its end", "balloon-dev-11", hinted > 0, f"{hinted >> 20} MiB hinted")

	def reported(self, guest):
		"""Linux reports what has been free for two seconds."""
		guest.wait_report("balloon", "refilled", SECONDS)
		before, stats = self.taken(), self.stats("reports")
		guest.wait_report("balloon", "freed", SECONDS)
		wait_until(lambda: self.stats("reports")["reported"] - stats["reported"] > TARGET, SECONDS, "freed memory was reported")
		after = self.taken()
		self.row("freed memory is reported by itself, and the host has it", "", before - after > TARGET * 3 // 4,
			f"{before >> 20} MiB before, {after >> 20} MiB after")

	def during(self, guest):
		guest.wait_report("balloon", "features", self.SECONDS + 60)
		self.memory = self.memory_file(guest)
		self.inflate(guest)
		self.ask_statistics(guest)
		self.deflate(guest)
		guest.wait_report("balloon", "rebound", SECONDS)
		self.hint()
		self.reported(guest)
		self.ctl("reports", "balloon", f"target={MIB}")		# the guest has waited for this

	def finish(self, _guest):
		return self.found
