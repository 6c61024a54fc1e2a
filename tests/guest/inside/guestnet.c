/*
 * Networks of the guest: the other end of guestlib/netserver.py, and what ethtool would say.
 *
 *	guestnet pull ADDRESS PORT BYTES        receive so many bytes, and look at each
 *	guestnet push ADDRESS PORT BYTES        send so many, and hear whether they were right
 *	guestnet many ADDRESS PORT COUNT BYTES  so many connections at once, that push and pull
 *	guestnet serve PORT                     be such an other end for everybody, until killed
 *	guestnet tso DEVICE on|off              what ethtool -K DEVICE tso on|off does; fails where the driver has none
 *	guestnet channels DEVICE N              what ethtool -L DEVICE combined N does
 *
 * The bytes are words that count, little-endian, so that what is lost, repeated or moved shows.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BUFFER = 1 << 18, SECONDS = 60 };
static uint64_t buffer[BUFFER / 8];

__attribute__((noreturn)) static void fail(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	exit(1);
}

static int dial(const char *address, const char *port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };
	struct timeval patience = { .tv_sec = SECONDS };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || inet_pton(AF_INET, address, &to.sin_addr) != 1)
		fail("socket");
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	if (connect(fd, (struct sockaddr *)&to, sizeof to))
		fail("connect");
	return fd;
}

static void ask(int fd, const char *verb, uint64_t bytes)
{
	char line[40];
	int n = snprintf(line, sizeof line, "%s %llu\n", verb, (unsigned long long)bytes);

	if (send(fd, line, (size_t)n, MSG_NOSIGNAL) != n)
		fail("send");
}

/* So many bytes, each looked at.  False: told why. */
static bool hear(int fd, uint64_t bytes)
{
	uint64_t heard = 0;
	size_t kept = 0;		/* of a word that came in part */

	while (heard < bytes) {
		ssize_t n = recv(fd, (char *)buffer + kept, sizeof buffer - kept, 0);
		if (n <= 0)
			fail(n ? "recv" : "the end came early");
		size_t have = kept + (size_t)n, words = have / 8;
		for (size_t i = 0; i < words; i++)
			if (buffer[i] != heard / 8 + i) {
				printf("word %llu is %llu\n", (unsigned long long)(heard / 8 + i), (unsigned long long)buffer[i]);
				return false;
			}
		heard += words * 8;
		kept = have % 8;
		memmove(buffer, (char *)buffer + words * 8, kept);
	}
	return true;
}

static void say(int fd, uint64_t bytes)
{
	for (uint64_t said = 0; said < bytes;) {
		size_t part = bytes - said < sizeof buffer ? (size_t)(bytes - said) : sizeof buffer;
		for (size_t i = 0; i < part / 8; i++)
			buffer[i] = said / 8 + i;
		for (size_t at = 0; at < part;) {
			ssize_t n = send(fd, (char *)buffer + at, part - at, MSG_NOSIGNAL);
			if (n <= 0)
				fail("send");
			at += (size_t)n;
		}
		said += part;
	}
}

static int pull(const char *address, const char *port, uint64_t bytes)
{
	int fd = dial(address, port);

	ask(fd, "GET", bytes);
	bool good = hear(fd, bytes);
	close(fd);
	return !good;
}

static int push(const char *address, const char *port, uint64_t bytes)
{
	int fd = dial(address, port);
	char verdict[100];

	ask(fd, "PUT", bytes);
	say(fd, bytes);
	ssize_t n = recv(fd, verdict, sizeof verdict - 1, 0);
	verdict[n > 0 ? n : 0] = 0;
	if (strcmp(verdict, "good\n")) {
		printf("the other end says: %s\n", verdict);
		return 1;
	}
	close(fd);
	return 0;
}

static int many(const char *address, const char *port, int count, uint64_t bytes)
{
	int bad = 0, status;

	for (int i = 0; i < count; i++)
		if (fork() == 0)
			_exit(push(address, port, bytes) || pull(address, port, bytes));
	while (wait(&status) > 0)
		bad += status != 0;
	printf("%d of %d connections\n", count - bad, count);
	return bad != 0;
}

/* ---- The other end ---- */

__attribute__((noreturn)) static void answer(int fd)
{
	char line[40] = "";
	unsigned long long bytes;

	for (size_t n = 0; n < sizeof line - 1 && recv(fd, line + n, 1, 0) == 1 && line[n] != '\n'; n++)
		;
	if (sscanf(line, "GET %llu", &bytes) == 1)
		say(fd, bytes);
	else if (sscanf(line, "PUT %llu", &bytes) == 1)
		send(fd, hear(fd, bytes) ? "good\n" : "bad!\n", 5, MSG_NOSIGNAL);
	_exit(0);
}

static int serve(const char *port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) || listen(fd, 64))
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

/* ---- ethtool ---- */

static bool order(const char *device, void *what)
{
	struct ifreq r = { .ifr_data = what };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	strncpy(r.ifr_name, device, IFNAMSIZ - 1);
	bool ok = !ioctl(fd, SIOCETHTOOL, &r);
	close(fd);
	return ok;
}

static int tso(const char *device, bool on)
{
	struct ethtool_value v = { .cmd = ETHTOOL_STSO, .data = on };

	if (!order(device, &v))
		fail("ETHTOOL_STSO");
	v = (struct ethtool_value){ .cmd = ETHTOOL_GTSO };
	if (!order(device, &v) || v.data != on) {
		printf("it stays %s\n", on ? "off" : "on");
		return 1;
	}
	return 0;
}

static int channels(const char *device, unsigned n)
{
	struct ethtool_channels c = { .cmd = ETHTOOL_GCHANNELS };

	if (!order(device, &c))
		fail("ETHTOOL_GCHANNELS");
	unsigned most = c.max_combined;
	c.cmd = ETHTOOL_SCHANNELS;
	c.combined_count = n;
	if (!order(device, &c) && errno != EINVAL)
		fail("ETHTOOL_SCHANNELS");
	c.cmd = ETHTOOL_GCHANNELS;
	if (!order(device, &c) || c.combined_count != n) {
		printf("it has %u, at most %u\n", c.combined_count, most);
		return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 5 && !strcmp(argv[1], "pull"))
		return pull(argv[2], argv[3], strtoull(argv[4], NULL, 0));
	if (argc == 5 && !strcmp(argv[1], "push"))
		return push(argv[2], argv[3], strtoull(argv[4], NULL, 0));
	if (argc == 6 && !strcmp(argv[1], "many"))
		return many(argv[2], argv[3], atoi(argv[4]), strtoull(argv[5], NULL, 0));
	if (argc == 3 && !strcmp(argv[1], "serve"))
		return serve(argv[2]);
	if (argc == 4 && !strcmp(argv[1], "tso"))
		return tso(argv[2], !strcmp(argv[3], "on"));
	if (argc == 4 && !strcmp(argv[1], "channels"))
		return channels(argv[2], (unsigned)atoi(argv[3]));
	fprintf(stderr, "see the head of guestnet.c\n");
	return 2;
}
