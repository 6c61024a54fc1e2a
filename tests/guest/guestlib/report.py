"""Progress lines while it runs, a table at the end."""
import time

HEAD = ("device", "driven by", "checked", "result")


class Report:
	def __init__(self):
		self.rows, self.began = [], time.monotonic()

	def step(self, text):
		print(f"[{time.monotonic() - self.began:5.1f} s] {text}", flush=True)

	def add(self, device, driver, checked, good, why=""):
		self.rows.append((device, driver, checked, "ok" if good else "FAILED", why))

	def table(self):
		"""The table; device and driver are written where they change. Below it, what failed and why."""
		widths = [max(len(row[i]) for row in [HEAD, *self.rows]) for i in range(len(HEAD))]

		def line(cells):
			print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths)).rstrip())

		print()
		line(HEAD)
		line(["-" * width for width in widths])
		above = ("", "")
		for row in self.rows:
			line(("", "", *row[2:4]) if row[:2] == above else row[:4])
			above = row[:2]
		for row in self.rows:
			if row[3] != "ok":
				print(f"\nFAILED: {row[0]}, {row[1]}: {row[2]}: {row[4]}")

	def summary(self, machines, reasons):
		"""
		A row a device: how many checks each machine's Linux passed. machines: (heading, a word of its driver); reasons: (device,
		heading) -> why there is none.
		"""
		devices = dict.fromkeys([row[0].split(",")[0] for row in self.rows] + [device for device, _ in reasons])
		for name in [name for name in devices if " " in name]:    # "the guest", "all devices": no devices
			del devices[name]
		rows = []
		for device in devices:
			cells = [device]
			for heading, word in machines:
				found = [row for row in self.rows if row[0].split(",")[0] == device and word in row[1]]
				bad = sum(row[3] != "ok" for row in found)
				cells.append(f"{bad} of {len(found)} FAILED" if bad else f"{len(found)} ok" if found else
					"- " + reasons.get((device, heading), "not tried"))
			rows.append(cells)
		head = ["device", *(heading for heading, _ in machines)]
		widths = [max(len(cells[i]) for cells in [head, *rows]) for i in range(len(head))]
		print()
		for cells in [head, ["-" * width for width in widths], *rows]:
			print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths)).rstrip())

	def good(self):
		return bool(self.rows) and all(row[3] == "ok" for row in self.rows)
