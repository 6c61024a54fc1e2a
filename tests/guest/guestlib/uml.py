"""User-mode Linux: a kernel that runs as a process and speaks vhost-user itself."""
import glob
import os
import shutil

from .guest import Guest

UML = "linux.uml"
ID_BLK = 2


def modules():
	folders = sorted(glob.glob("/usr/lib/uml/modules/*"))
	return folders[-1] if folders else None


def missing():
	if not shutil.which(UML):
		return f"{UML} is not installed (user-mode-linux)"
	if not modules():
		return "no modules under /usr/lib/uml/modules (user-mode-linux)"
	return None


def device(path, number):
	"""The argument for one vhost-user device of this device id."""
	return f"virtio_uml.device={path}:{number}"


def boot(place, name, initramfs, words, disks, devices=()):
	"""Boots with the sockets given as disks vda, vdb... and other devices, as device() names them."""
	folder = place.file(name + "-uml")
	os.mkdir(folder)
	command = [UML, "mem=128M", f"initrd={initramfs}", f"umid={name}", f"uml_dir={folder}", "con=null",
		"con0=fd:0,fd:1", "ssl=null", "quiet", "panic=-1", *words.split()]
	command += [device(path, ID_BLK) for path in disks] + list(devices)
	return Guest(place, name, command, {"TMPDIR": folder})
