"""
arm64 where the host is not: vio is built for it (scripts/cross), and QEMU emulates a processor with virtualization, on which
Debian's arm64 kernel has KVM; there vio run boots that kernel again, once on each wire.
"""
import os
import re
import shutil
import subprocess

from . import initramfs
from .guest import Guest
from .place import Failure

QEMU = "qemu-system-aarch64"
ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../.."))
BUILD = os.path.join(ROOT, "build-arm64")
DEBIAN = os.path.join(BUILD, "debian")
PACKAGES = ("linux-image-cloud-arm64", "busybox-static", "libevdev2")
LOADED = ("libevdev.so.2",)     # by a device that needs it
COMPILER = "aarch64-linux-gnu-gcc"
TOOLS = ("guestio", "guestsock", "guestinput")
OUTER_MODULES = ("tun",)
INNER_MODULES = ("virtio_pci", "virtio_mmio", "virtio_blk", "virtio_rng", "virtio_scsi", "sd_mod", "virtio_net", "virtiofs", "virtio_console",
	"vmw_vsock_virtio_transport", "virtio_balloon", "virtio_input", "evdev")
FOLDERS = ("bin", "dev", "lib", "mnt", "modules", "proc", "sys", "tmp")


def missing():
	"""Why it can't be tried here, or None."""
	for program, package in ((QEMU, "qemu-system-arm"), (COMPILER, "gcc-aarch64-linux-gnu"), ("depmod", "kmod")):
		if not shutil.which(program):
			return f"{program} is not installed ({package}; scripts/bootstrap arm64)"
	return None


def fetch():
	"""Debian's packages, unpacked; why they can't be had, or None."""
	done = subprocess.run([os.path.join(ROOT, "scripts/foreign"), "arm64", DEBIAN, *PACKAGES], capture_output=True, text=True, check=False)
	return done.stderr.strip().splitlines()[-1] if done.returncode else None


def build():
	"""vio for arm64."""
	done = subprocess.run([os.path.join(ROOT, "scripts/cross"), BUILD, "cmd/vio"], capture_output=True, text=True, check=False)
	if done.returncode:
		raise Failure(f"vio does not build for arm64:\n{done.stdout}{done.stderr}")
	return os.path.join(BUILD, "cmd/vio")


def kernel(place):
	"""(image, folder of modules), with the list of what needs what that an installation would have made."""
	images = sorted(name for name in os.listdir(os.path.join(DEBIAN, "boot")) if name.startswith("vmlinuz-"))
	release = images[-1].removeprefix("vmlinuz-")
	folder = os.path.join(DEBIAN, "lib/modules", release)
	if not os.path.exists(os.path.join(folder, "modules.dep")):
		place.run("depmod", "-b", DEBIAN, release)
	return os.path.join(DEBIAN, "boot", images[-1]), folder


def libraries(place, program):
	"""(name in the guest, path here) of what a program for arm64 needs."""
	folders = [os.path.join(DEBIAN, "usr/lib/aarch64-linux-gnu"), "/usr/aarch64-linux-gnu/lib"]
	found, wanted = {}, list(LOADED)

	def look(path):
		said = place.run("aarch64-linux-gnu-readelf", "-dl", path)
		wanted.extend(re.findall(r"\(NEEDED\).*\[(.+)\]", said) + re.findall(r"interpreter: /lib/(.+)\]", said))

	look(program)
	while wanted:
		name = wanted.pop()
		if name not in found:
			paths = [os.path.join(folder, name) for folder in folders if os.path.exists(os.path.join(folder, name))]
			if not paths:
				raise Failure(f"{program} needs {name} for arm64")
			found[name] = paths[0]
			look(paths[0])
	return found.items()


class Archive(initramfs.Archive):
	def __init__(self, module_folder, modules, first):
		super().__init__()
		for folder in FOLDERS:
			self.folder(folder)
		self.add("dev/console", 0o020600, device=(5, 1))
		for shell in ("bin/busybox", "bin/sh"):
			self.copy(shell, os.path.join(DEBIAN, "bin/busybox"))
		loaded = initramfs.modules(module_folder, modules)
		for module, data in loaded:
			self.file("modules/" + module, data)
		self.file("modules/order", "".join(module + "\n" for module, _ in loaded).encode())
		self.copy("init", os.path.join(initramfs.INSIDE, first))

	def copy(self, name, path):
		with open(path, "rb") as file:
			self.file(name, file.read())

	def script(self, name):
		self.copy("lib/" + name, os.path.join(initramfs.INSIDE, name))

	def write(self, path):
		with open(path, "wb") as file:
			file.write(self.bytes())
		return path


def tools(place):
	"""The guests' programs, for arm64: (name, path)."""
	for name in TOOLS:
		path = place.file(name)
		place.run(COMPILER, "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-static", "-pthread", os.path.join(initramfs.INSIDE, name + ".c"), "-o", path)
		yield name, path


def boot(place, program):
	"""The emulated machine, in which inside/arm64 tries vio run."""
	image, modules = kernel(place)
	inner, outer = Archive(modules, INNER_MODULES, "init"), Archive(modules, OUTER_MODULES, "arm64")
	for name, path in tools(place):
		inner.copy("bin/" + name, path)
		outer.copy("bin/" + name, path)
	for name in ("checks", "job-arm64"):
		inner.script(name)
	outer.copy("bin/vio", program)
	for name, path in libraries(place, program):
		outer.copy("lib/" + name, path)
	outer.copy("kernel", image)
	outer.copy("initrd", inner.write(place.file("inner.cpio")))
	# An emulated processor signs pointers quickly by a way of its own only.
	return Guest(place, "arm64", [QEMU, "-M", "virt,virtualization=on,gic-version=3", "-cpu", "max,pauth-impdef=on", "-smp", "2", "-m", "1536M",
		"-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot", "-kernel", image, "-initrd", outer.write(place.file("outer.cpio")),
		"-append", "console=ttyAMA0 quiet panic=-1 random.trust_cpu=on"])
