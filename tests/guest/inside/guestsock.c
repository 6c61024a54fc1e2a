/*
 * Sockets of the guest: the other end of what guestlib's host side does with Unix sockets.
 *
 *	guestsock echo PORT stream|seqpacket            answer everybody what they say, until killed
 *	guestsock talk CID PORT stream|seqpacket BYTES  say so many bytes, hear them back; then end one direction, hear the end
 *	guestsock many CID PORT COUNT                   so many connections at once, each talked to in turn
 *	guestsock nobody CID PORT                       a port that nobody listens on refuses
 *	guestsock call PATH PORT BYTES                  on the host: talk to the guest's port, by the Unix socket PATH
 *	guestsock hold CID PORT                         connect, and wait until the other side hangs up
 *
 * Byte i is (i * 7 + (i >> 8) * 13 + seed), so that what is lost, repeated or moved shows.  Messages have uneven lengths, and each
 * must come back as it was sent.
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <linux/vm_sockets.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PIECE = 65536, MESSAGES = 13, CONNECTIONS = 1024 };

static const size_t message_bytes[MESSAGES] = { 1, 2, 4051, 4052, 4053, 65536, 3, 100000, 17, 8192, 200000, 1, 30000 };
static unsigned char out[256 << 10], in[256 << 10];

__attribute__((noreturn)) static void fail(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	exit(1);
}

static unsigned char mark(uint64_t i, unsigned seed) { return (unsigned char)(i * 7 + (i >> 8) * 13 + seed); }

static int type_of(const char *word) { return strcmp(word, "seqpacket") ? SOCK_STREAM : SOCK_SEQPACKET; }

static int make(int type)
{
	int fd = socket(AF_VSOCK, type | SOCK_CLOEXEC, 0);

	if (fd < 0)
		fail("socket");
	return fd;
}

static int dial(const char *cid, const char *port, int type)
{
	struct sockaddr_vm a = { .svm_family = AF_VSOCK, .svm_cid = (unsigned)atol(cid), .svm_port = (unsigned)atol(port) };
	int fd = make(type);

	if (connect(fd, (struct sockaddr *)&a, sizeof a))
		fail("connect");
	return fd;
}

/* ---- echo ---- */

static void answer(int fd)
{
	ssize_t n;

	while ((n = recv(fd, in, sizeof in, 0)) > 0)
		for (ssize_t at = 0, m; at < n; at += m)
			if ((m = send(fd, in + at, (size_t)(n - at), MSG_NOSIGNAL)) <= 0)
				_exit(1);
	shutdown(fd, SHUT_WR);		/* what was said has been answered; then wait for the other side to hang up */
	while (recv(fd, in, sizeof in, 0) > 0)
		;
	_exit(n < 0);
}

static int echo(const char *port, int type)
{
	struct sockaddr_vm a = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = (unsigned)atol(port) };
	int fd = make(type);

	if (bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 128))
		fail("listen");
	for (;;) {
		int c = accept(fd, NULL, NULL);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (c < 0)
			continue;
		if (fork() == 0)
			answer(c);
		close(c);
	}
}

/* ---- talk ---- */

static bool compare(const unsigned char *p, size_t n, uint64_t from, unsigned seed)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != mark(from + i, seed)) {
			printf("byte %llu is %u, not %u\n", (unsigned long long)(from + i), p[i], mark(from + i, seed));
			return false;
		}
	return true;
}

static size_t piece(int type, unsigned k, uint64_t left)
{
	size_t n = type == SOCK_SEQPACKET ? message_bytes[k % MESSAGES] : PIECE;

	return n < left ? n : (size_t)left;
}

/* A process of its own: what is sent without waiting may leave half a message behind (Linux 6.1). */
static pid_t start_saying(int fd, int type, uint64_t bytes, unsigned seed)
{
	pid_t child = fork();

	if (child)
		return child;
	for (uint64_t sent = 0, n, k = 0; sent < bytes; sent += n) {
		n = piece(type, (unsigned)k++, bytes - sent);
		for (size_t i = 0; i < n; i++)
			out[i] = mark(sent + i, seed);
		for (size_t at = 0, m; at < n; at += m)
			if ((m = (size_t)send(fd, out + at, n - at, MSG_NOSIGNAL)) > n)
				fail("send");
	}
	_exit(0);
}

static bool hear(int fd, int type, uint64_t bytes, unsigned seed)
{
	uint64_t heard = 0;

	for (unsigned k = 0; heard < bytes; k++) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		if (poll(&p, 1, 20000) <= 0) {
			printf("nothing moves: %llu heard\n", (unsigned long long)heard);
			return false;
		}
		ssize_t n = recv(fd, in, sizeof in, 0);
		if (n <= 0)
			fail(n ? "recv" : "the end came early");
		if (type == SOCK_SEQPACKET && (size_t)n != piece(type, k, bytes - heard)) {
			printf("message %u has %zd bytes, not %zu\n", k, n, piece(type, k, bytes - heard));
			return false;
		}
		if (!compare(in, (size_t)n, heard, seed))
			return false;
		heard += (uint64_t)n;
	}
	return true;
}

/* Both directions at once, or a slow echo would never be read. */
static bool talk_over(int fd, int type, uint64_t bytes, unsigned seed)
{
	int status;
	pid_t child = start_saying(fd, type, bytes, seed);
	bool good = child > 0 && hear(fd, type, bytes, seed);

	return child > 0 && waitpid(child, &status, 0) == child && status == 0 && good;
}

static bool hear_the_end(int fd)
{
	if (shutdown(fd, SHUT_WR))
		fail("shutdown");
	ssize_t n = recv(fd, in, sizeof in, 0);
	if (n == 0)
		return true;
	printf("after the end of what was said comes %zd (%s)\n", n, n < 0 ? strerror(errno) : "bytes");
	return false;
}

static int talk(char **arg)
{
	int type = type_of(arg[2]), fd = dial(arg[0], arg[1], type);
	uint64_t bytes = strtoull(arg[3], NULL, 0);

	if (!talk_over(fd, type, bytes, 1) || !hear_the_end(fd))
		return 1;
	close(fd);
	printf("%llu bytes there and back\n", (unsigned long long)bytes);
	return 0;
}

static int many(char **arg)
{
	static int fd[CONNECTIONS];
	int count = atoi(arg[2]);

	if (count < 1 || count > CONNECTIONS)
		return 2;
	for (int i = 0; i < count; i++)
		fd[i] = dial(arg[0], arg[1], SOCK_STREAM);
	for (int i = 0; i < count; i++)
		if (!talk_over(fd[i], SOCK_STREAM, 3000, (unsigned)i) || (i % 2 && !hear_the_end(fd[i])))
			return 1;
	for (int i = 0; i < count; i++)
		close(fd[i]);
	printf("%d connections at once\n", count);
	return 0;
}

static int nobody(char **arg)
{
	struct sockaddr_vm a = { .svm_family = AF_VSOCK, .svm_cid = (unsigned)atol(arg[0]), .svm_port = (unsigned)atol(arg[1]) };

	if (connect(make(SOCK_STREAM), (struct sockaddr *)&a, sizeof a) == 0 || errno != ECONNRESET) {
		printf("connect says %s\n", strerror(errno));
		return 1;
	}
	printf("refused at once\n");
	return 0;
}

static int hold(char **arg)
{
	int fd = dial(arg[0], arg[1], SOCK_STREAM);

	if (recv(fd, in, sizeof in, 0) != 0)
		fail("recv");
	printf("the host has hung up\n");
	return 0;
}

static int call(char **arg)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	char line[32], c = 0;

	snprintf(a.sun_path, sizeof a.sun_path, "%s", arg[0]);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a))
		fail("connect");
	int n = snprintf(line, sizeof line, "CONNECT %s\n", arg[1]);
	if (send(fd, line, (size_t)n, 0) != n)
		fail("send");
	while (c != '\n')		/* "OK PORT" */
		if (recv(fd, &c, 1, 0) != 1)
			fail("refused");
	if (!talk_over(fd, SOCK_STREAM, strtoull(arg[2], NULL, 0), 1) || !hear_the_end(fd))
		return 1;
	printf("%s bytes there and back\n", arg[2]);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "echo"))
		return echo(argv[2], type_of(argv[3]));
	if (argc == 6 && !strcmp(argv[1], "talk"))
		return talk(argv + 2);
	if (argc == 5 && !strcmp(argv[1], "many"))
		return many(argv + 2);
	if (argc == 4 && !strcmp(argv[1], "nobody"))
		return nobody(argv + 2);
	if (argc == 5 && !strcmp(argv[1], "call"))
		return call(argv + 2);
	if (argc == 4 && !strcmp(argv[1], "hold"))
		return hold(argv + 2);
	fprintf(stderr, "see the head of guestsock.c\n");
	return 2;
}
