#!/usr/bin/env python3
"""A network of its own for a daemon: run under unshare(1) -Urn as

	netroom.py ADDRESS/BITS MTU QUEUES PORT COMMAND...

makes a tap of several queues with that address, serves netserver.py there, and becomes COMMAND with a --tap-fd for each queue.
Where COMMAND is "give FD", it sends the queues' descriptors over that connected Unix socket instead, and ends when the other end has.
"""
import fcntl
import ipaddress
import os
import select
import socket
import struct
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from guestlib.netserver import Server		# noqa: E402

TUNSETIFF, TAP, NO_PI, VNET_HDR, MULTI_QUEUE = 0x400454CA, 0x0002, 0x1000, 0x4000, 0x0100
SIOCSIFADDR, SIOCSIFNETMASK, SIOCSIFMTU, SIOCSIFFLAGS, UP = 0x8916, 0x891C, 0x8922, 0x8914, 1
NAME = b"room"


def order(name, request, data):
	with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
		fcntl.ioctl(any_socket, request, struct.pack("16s24s", name, data))


def address(text):
	return struct.pack("H2x4s", socket.AF_INET, ipaddress.ip_address(text).packed)


def main():
	network, mtu, queues, port, *command = sys.argv[1:]
	host = ipaddress.ip_interface(network)
	taps = []
	for _ in range(int(queues)):
		tap = os.open("/dev/net/tun", os.O_RDWR)
		fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", NAME, TAP | NO_PI | VNET_HDR | MULTI_QUEUE))
		os.set_inheritable(tap, True)
		taps.append(tap)
	order(NAME, SIOCSIFADDR, address(host.ip))
	order(NAME, SIOCSIFNETMASK, address(host.netmask))
	order(NAME, SIOCSIFMTU, struct.pack("i", int(mtu)))
	for name in (NAME, b"lo"):
		order(name, SIOCSIFFLAGS, struct.pack("h", UP))
	server = Server(str(host.ip), int(port))
	if command[0] == "give":
		threading.Thread(target=server.serve_forever, daemon=True).start()
		with socket.socket(fileno=int(command[1])) as other:
			socket.send_fds(other, [b"taps"], taps)
			for tap in taps:
				os.close(tap)
			other.recv(1)
		return
	parent = os.pidfd_open(os.getpid())
	if os.fork() == 0:
		for tap in taps:
			os.close(tap)
		threading.Thread(target=server.serve_forever, daemon=True).start()
		select.select([parent], [], [])		# it has ended
		os._exit(0)
	os.execv(command[0], [*command, *(f"--tap-fd={tap}" for tap in taps)])


if __name__ == "__main__":
	main()
