"""Shared folders: what programs do with files, in the guest; then the host looks at what is there."""
import fcntl
import hashlib
import os
import stat

from guestlib import qemu, uml
from guestlib.devicejob import Device
from guestlib.place import Failure, wait_until

ID = 26
SECONDS = 30
FILES = {"auto": 1024, "never": 96, "writeback": 96}   # as in inside/dev-fs
FOLDERS = 32                    # as in inside/guestfs.c
SHARES = {"auto": (), "never": ("--cache=never",), "writeback": ("--cache=always", "--writeback")}


def marks(n, i):
	"""What guestfs writes into file i."""
	return bytes((k * 7 + (k >> 8) * 13 + i) & 255 for k in range(n))


def both(*checks):
	return tuple(f"{share}-{check}" for share in SHARES for check in checks)


class Job(Device):
	MODULES = ("virtiofs",)
	SECONDS = 150
	ROWS = (
		("three folders are mounted by their tags", "fs-dev-1", both("mount")),
		("what the host has put there is read, by checksums", "fs-dev-7", ("known",)),
		("a thousand-file tree is made, listed and read", "fs-dev-7", both("tree")),
		("names move: over others, exchanged, without replacing", "", both("rename")),
		("hard and symbolic links", "", both("links")),
		("files without names get one", "", both("tmpfile")),
		("512 names are listed while they come and go, each once", "", both("readdir")),
		("reading and writing directly, at the end, and made durable", "", both("direct")),
		("space is allocated and given back, holes are found", "", both("space")),
		("copying within the host", "", both("copy")),
		("an open file without a name is a file still", "", both("unlinked")),
		("modes, owners, times; who writes takes privileges away", "", both("attr")),
		("POSIX and BSD locks between programs, which are waited for", "", both("locks")),
		("shared memory of files", "", ("auto-mmap", "writeback-mmap")),
		("pipes and sockets have names, devices may not", "", ("auto-nodes",)),
		("a program of the shared folder runs", "", ("run",)),
		("how much space there is", "", both("statfs")),
		("links that lead out of the folder lead nowhere", "", both("outside")),
		("a lock of the host's holds in the guest", "", ("never-hostlock",)),
		("what the host changes is seen at once (cache=never)", "", ("before", "first", "second", "gone")),
		("all is there after another mount", "", both("again")),
		("nothing is held after the last", "", both("umount")),
	)
	XATTR_ROWS = (
		("extended attributes, but for those that mean something to the host", "", ("auto-xattr",)),
		("ACLs are kept, inherited and obeyed", "", ("auto-acl",)),
	)

	def start(self):
		self.found, self.daemon, self.users = [], {}, os.geteuid() == 0
		os.mkdir(self.file("outside"))
		self.write("outside/secret", b"nobody's business")
		for share, options in SHARES.items():
			os.mkdir(self.file(share))
			os.symlink(self.file("outside"), self.file(share + "/out"))
			os.symlink("../" + os.path.basename(self.file("outside")) + "/secret", self.file(share + "/up"))
			self.daemon[share] = self.serve(share, f"--shared-dir={self.file(share)}", f"--tag={share}", *options)
		self.xattr = self.can_xattr(self.file("auto"))
		if self.xattr:
			self.ROWS += self.XATTR_ROWS
		self.put_known()
		self.write("never/of-the-host", b"locked")
		self.write("never/goes", b"")
		self.locked = open(self.file("never/of-the-host"), "r+b")
		fcntl.lockf(self.locked, fcntl.LOCK_EX)

	def file(self, name):
		share, _, rest = name.partition("/")
		return os.path.join(super().file("fs-" + share), rest) if rest else super().file("fs-" + share)

	def write(self, name, data):
		with open(self.file(name), "wb") as file:
			file.write(data)

	def read(self, name):
		with open(self.file(name), "rb") as file:
			return file.read()

	@staticmethod
	def can_xattr(folder):
		"""Whether the file system of the host's temporary files has extended attributes and ACLs at all."""
		acl = bytes.fromhex("02000000" "0100" "0600" "ffffffff" "0400" "0400" "ffffffff" "2000" "0400" "ffffffff")
		try:
			os.setxattr(folder, "user.vio", b"1")
			os.setxattr(folder, "system.posix_acl_access", acl)
			os.removexattr(folder, "system.posix_acl_access")
			os.chmod(folder, 0o755)
		except OSError:
			return False
		return True

	def put_known(self):
		os.mkdir(self.file("auto/known"))
		sums = ""
		for i in range(200):
			data = marks(i * 911 % 30000, i)
			self.write(f"auto/known/{i}", data)
			sums += f"{hashlib.sha256(data).hexdigest()}  {i}\n"
		self.write("auto/known/sums", sums.encode())

	def words(self):
		return f"vio.fs_users={int(self.users)} vio.fs_xattr={int(self.xattr)}"

	def qemu(self):
		return [word for share, daemon in self.daemon.items()
			for word in qemu.device("fs", "fs-" + share, daemon.socket, f",tag={share}")]

	def uml(self):
		return [uml.device(daemon.socket, ID) for daemon in self.daemon.values()]

	# ---- While the guest runs ----

	def row(self, words, ids, work):
		try:
			work()
			self.found.append((words, ids, True, ""))
		except (Failure, OSError) as problem:
			self.found.append((words, ids, False, str(problem)))

	def guest_lock(self):
		wait_until(lambda: os.path.exists(self.file("never/held")), SECONDS, "the guest held its lock")
		with open(self.file("never/of-the-guest"), "r+b") as file:
			fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 0)
			try:
				fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 10)
			except BlockingIOError:
				return
		raise Failure("the host gets the lock that the guest has")

	def during(self, guest):
		guest.wait_report("fs", "listening", self.SECONDS + 60)
		self.row("a lock of the guest's holds on the host", "", self.guest_lock)
		self.write("never/go", b"")
		self.write("never/word", b"first")
		self.write("never/made", b"")
		guest.wait_report("fs", "first", SECONDS)
		self.write("never/word", b"second and longer")
		os.unlink(self.file("never/goes"))
		self.write("never/changed", b"")

	# ---- Afterwards ----

	def same(self, name, data):
		if self.read(name) != data:
			raise Failure(f"{name} is not what the guest wrote")

	def tree(self, share):
		found = sorted(os.path.relpath(os.path.join(path, name), self.file(share + "/tree"))
			for path, _, names in os.walk(self.file(share + "/tree")) for name in names)
		if found != sorted(f"d{i % FOLDERS:02}/f{i:04}" for i in range(FILES[share])):
			raise Failure(f"{len(found)} files, or others")
		for i in range(FILES[share]):
			self.same(f"{share}/tree/d{i % FOLDERS:02}/f{i:04}", marks(i * i * 37 % 20000, i))

	def contents(self, share):
		self.same(f"{share}/rename/empty/moved", marks(200, 3))
		self.same(f"{share}/from-nowhere", marks(5000, 9))
		self.same(f"{share}/going", marks(10, 12))
		self.same(f"{share}/appended", marks(77, 7) * 100)
		self.same(f"{share}/copied", bytes(50000) + marks(1 << 20, 10)[1000:701000])
		space = bytearray(marks(1 << 20, 8))
		space[256 << 10:768 << 10] = bytes(512 << 10)
		self.same(f"{share}/space", bytes(space[:900000]))
		names = FILES[share] // 2
		if os.path.exists(self.file(share + "/gone")) or len(os.listdir(self.file(share + "/many"))) != names // 2 + names // 10:
			raise Failure("what was removed is there, or what should be is not")
		if share != "never":
			mapped = bytearray(marks(300000, 6))
			mapped[77] ^= 1
			mapped[100000:100011] = b"from beside"
			self.same(f"{share}/mapped", bytes(mapped))

	def attributes(self, share):
		here = os.lstat(self.file(share + "/links/two"))
		if here.st_nlink != 1 or os.readlink(self.file(share + "/links/soft")) != "two":
			raise Failure("links are not as the guest left them")
		user, group = (1000, 1001) if self.users else (os.geteuid(), os.getegid())
		theirs = os.lstat(self.file(share + ("/everybody/theirs" if self.users else "/everybody")))
		if (theirs.st_uid, theirs.st_gid) != (user, group):
			raise Failure(f"belongs to {theirs.st_uid}:{theirs.st_gid}, not {user}:{group}")
		if share == "auto":
			kinds = [stat.S_IFMT(os.lstat(self.file("auto/nodes/" + name)).st_mode) for name in ("pipe", "socket")]
			if kinds != [stat.S_IFIFO, stat.S_IFSOCK] or os.path.exists(self.file("auto/nodes/device")):
				raise Failure("nodes of other kinds")

	def confined(self):
		if os.listdir(self.file("outside")) != ["secret"] or self.read("outside/secret") != b"nobody's business":
			raise Failure("something outside the shared folder has changed")

	def held(self):
		for share in SHARES:
			figures = self.ctl(share, "stats")["fs"]
			if figures["handles"] or figures["lock_owners"] or figures["nodes"] > 1:
				raise Failure(f"{share}: {figures}")

	def finish(self, _guest):
		self.locked.close()
		for share in SHARES:
			self.row(f"the host finds all {FILES[share]} files of the tree, byte for byte ({share})", "fs-dev-7",
				lambda share=share: self.tree(share))
			self.row(f"the host finds every other file as the guest left it ({share})", "",
				lambda share=share: self.contents(share))
			self.row(f"owners, links and kinds are the host's too ({share})", "", lambda share=share: self.attributes(share))
		self.row("nothing outside the shared folders was read or written", "", self.confined)
		self.row("no file, handle or lock is held for a guest that has gone", "", self.held)
		return self.found
