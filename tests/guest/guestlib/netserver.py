"""Who guests talk to over a network: gives and takes words that count (inside/guestnet.c), and serves them by HTTP."""
import array
import socketserver
import sys

PIECE = 1 << 18


def words(at, count):
	data = array.array("Q", range(at // 8, (at + count) // 8))
	if sys.byteorder == "big":
		data.byteswap()
	return data.tobytes()


class Talk(socketserver.StreamRequestHandler):
	"""GET n, PUT n; or GET /n as a browser says it."""

	timeout = 60

	def handle(self):
		verb, rest = self.rfile.readline(200).decode("ascii", "replace").split(maxsplit=1)
		if rest.startswith("/"):
			size = int(rest[1:].split()[0])
			while self.rfile.readline(2000).strip():
				pass
			self.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
			self.give(size)
		elif verb == "GET":
			self.give(int(rest))
		else:
			self.take(int(rest))

	def give(self, size):
		for at in range(0, size, PIECE):
			self.wfile.write(words(at, min(PIECE, size - at)))

	def take(self, size):
		for at in range(0, size, PIECE):
			part = min(PIECE, size - at)
			if self.rfile.read(part) != words(at, part):
				self.wfile.write(b"bytes from %d on are not what was sent\n" % at)
				return
		self.wfile.write(b"good\n")


class Server(socketserver.ThreadingTCPServer):
	daemon_threads = True
	allow_reuse_address = True
	request_queue_size = 64

	def __init__(self, address="127.0.0.1", port=0):
		super().__init__((address, port), Talk)
		self.port = self.server_address[1]

	def handle_error(self, request, client_address):
		"""Who hangs up early has his own row."""
