/*
 * What the guests need and busybox lacks: raw, parallel, checkable disk requests.
 *
 * A stamped range holds, in each 8-byte little-endian word, its own byte offset on the disk plus the seed times 2^48:
 * a block that is lost, old, moved or torn shows which word is wrong and whose it is.  The host checks the same
 * pattern in the image (guestlib/image.py).
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { BLOCK = 16384, MAX_THREADS = 64, SEED_SHIFT = 48 };

struct job {
	int fd;
	uint64_t start, length, seed;
	unsigned threads;
	bool write;
	_Atomic uint64_t done;
	_Atomic bool failed;
};
struct worker { struct job *job; unsigned number; pthread_t thread; };

static uint64_t number(const char *text)
{
	char *end;
	uint64_t n = strtoull(text, &end, 0);

	if (*end || end == text) {
		fprintf(stderr, "%s is not a number\n", text);
		exit(2);
	}
	return n;
}

static int disk_open(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	if (fd < 0) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		exit(1);
	}
	return fd;
}

static void fill(uint64_t *words, uint64_t offset, uint64_t seed)
{
	for (unsigned i = 0; i < BLOCK / 8; i++)
		words[i] = (seed << SEED_SHIFT) + offset + i * 8;
}

static bool block_write(struct job *j, uint64_t *words, uint64_t offset)
{
	fill(words, offset, j->seed);
	if (pwrite(j->fd, words, BLOCK, (off_t)offset) == BLOCK)
		return true;
	printf("write at %" PRIu64 ": %s\n", offset, strerror(errno));
	return false;
}

static bool block_verify(struct job *j, uint64_t *words, uint64_t offset)
{
	if (pread(j->fd, words, BLOCK, (off_t)offset) != BLOCK) {
		printf("read at %" PRIu64 ": %s\n", offset, strerror(errno));
		return false;
	}
	for (unsigned i = 0; i < BLOCK / 8; i++) {
		uint64_t want = (j->seed << SEED_SHIFT) + offset + i * 8;

		if (words[i] != want) {
			printf("byte %" PRIu64 " holds %016" PRIx64 ", not %016" PRIx64 "\n", offset + i * 8, words[i], want);
			return false;
		}
	}
	return true;
}

/* One thread for each place in the queues, spread over the processors, since each processor has its own queue. */
static void *work(void *arg)
{
	struct worker *w = arg;
	struct job *j = w->job;
	cpu_set_t cpus;
	void *words;

	CPU_ZERO(&cpus);
	CPU_SET(w->number % (unsigned)sysconf(_SC_NPROCESSORS_ONLN), &cpus);
	sched_setaffinity(0, sizeof cpus, &cpus);
	if (posix_memalign(&words, 4096, BLOCK))
		return NULL;
	for (uint64_t at = w->number * (uint64_t)BLOCK; at < j->length && !j->failed; at += j->threads * (uint64_t)BLOCK) {
		if (!(j->write ? block_write(j, words, j->start + at) : block_verify(j, words, j->start + at)))
			j->failed = true;
		j->done += BLOCK;
	}
	free(words);
	return NULL;
}

static int run(struct job *j)
{
	struct worker workers[MAX_THREADS];

	for (unsigned i = 0; i < j->threads; i++) {
		workers[i] = (struct worker){ .job = j, .number = i };
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			return 1;
	}
	for (unsigned i = 0; i < j->threads; i++)
		pthread_join(workers[i].thread, NULL);
	if (j->failed || j->done != j->length)
		return 1;
	if (j->write && fsync(j->fd)) {
		printf("fsync: %s\n", strerror(errno));
		return 1;
	}
	return 0;
}

/* stamp|verify DISK OFFSET LENGTH SEED THREADS */
static int stamp(char **args, bool write)
{
	struct job j = { .start = number(args[1]), .length = number(args[2]), .seed = number(args[3]),
		.threads = (unsigned)number(args[4]), .write = write };
	int code;

	if (!j.threads || j.threads > MAX_THREADS || j.length % BLOCK)
		return 2;
	j.fd = disk_open(args[0], (write ? O_WRONLY : O_RDONLY) | O_DIRECT);
	code = run(&j);
	if (!code)
		printf("%" PRIu64 " blocks of %d bytes by %u threads\n", j.length / BLOCK, BLOCK, j.threads);
	close(j.fd);
	return code;
}

/* Tells the host, past whatever the standard output is. */
static void say(const char *subject, const char *check, uint64_t n, const char *verdict)
{
	int console = disk_open("/dev/console", O_WRONLY | O_NOCTTY);
	char line[100];
	int length = snprintf(line, sizeof line, "VIO %s %s-%" PRIu64 " %s\n", subject, check, n, verdict);

	if (write(console, line, (size_t)length) != length)
		perror("/dev/console");
	close(console);
}

/* Waits until the host has typed a line. */
static void heed(void)
{
	char c = 0;

	while (c != '\n' && read(0, &c, 1) == 1)
		;
}

/* rounds ROLE DISK OFFSET LENGTH THREADS STOP: stamps and verifies with seed 1, 2, ... until the file STOP exists. */
static int rounds(char **args)
{
	struct job j = { .start = number(args[2]), .length = number(args[3]), .threads = (unsigned)number(args[4]) };

	if (!j.threads || j.threads > MAX_THREADS || j.length % BLOCK)
		return 2;
	j.fd = disk_open(args[1], O_RDWR | O_DIRECT);
	for (j.seed = 1;; j.seed++) {
		say(args[0], "round", j.seed, "ok");
		for (int pass = 0; pass < 2; pass++) {
			j.write = !pass;
			j.done = 0;
			if (run(&j))
				return 1;
		}
		if (!access(args[5], F_OK))
			break;
	}
	printf("%" PRIu64 " rounds\n", j.seed);
	close(j.fd);
	return 0;
}

/*
 * held DISK OFFSET LENGTH: a buffer that has long been in memory is filled from the disk when the host says so, and
 * compared only when the host says so again.
 */
static int held(char **args)
{
	struct job j = { .start = number(args[1]), .length = number(args[2]), .seed = 9, .threads = 8, .write = true };
	uint64_t *words = NULL, wrong = 0;

	if (j.length % BLOCK || posix_memalign((void **)&words, 4096, j.length))
		return 2;
	memset(words, 0xff, j.length);
	j.fd = disk_open(args[0], O_RDWR | O_DIRECT);
	if (run(&j))
		return 1;
	say("guest", "ready", 1, "ok");
	heed();
	for (uint64_t at = 0; at < j.length; at += BLOCK)
		if (pread(j.fd, words + at / 8, BLOCK, (off_t)(j.start + at)) != BLOCK) {
			say("guest", "filled", 1, "failed");
			return 1;
		}
	say("guest", "filled", 1, "ok");
	heed();
	for (uint64_t at = 0; at < j.length; at += 8)
		wrong += words[at / 8] != (j.seed << SEED_SHIFT) + j.start + at;
	j.done = 0;
	j.seed = 10;
	if (run(&j))	/* the disk goes on working where the guest is now */
		return 1;
	close(j.fd);
	free(words);
	printf("of %" PRIu64 " bytes read during the move, %" PRIu64 " words did not arrive\n", j.length, wrong);
	return wrong != 0;
}

/* zero DISK OFFSET LENGTH */
static int zero(char **args)
{
	uint64_t range[2] = { number(args[1]), number(args[2]) };
	int fd = disk_open(args[0], O_WRONLY);
	int code = ioctl(fd, BLKZEROOUT, range);

	if (code)
		printf("BLKZEROOUT: %s\n", strerror(errno));
	close(fd);
	return code != 0;
}

/* iszero DISK OFFSET LENGTH */
static int iszero(char **args)
{
	static uint64_t words[BLOCK / 8] __attribute__((aligned(4096)));
	int fd = disk_open(args[0], O_RDONLY | O_DIRECT);
	uint64_t at = number(args[1]), end = at + number(args[2]);

	for (; at < end; at += BLOCK) {
		if (pread(fd, words, BLOCK, (off_t)at) != BLOCK) {
			printf("read at %" PRIu64 ": %s\n", at, strerror(errno));
			return 1;
		}
		for (unsigned i = 0; i < BLOCK / 8; i++)
			if (words[i]) {
				printf("byte %" PRIu64 " is not zero\n", at + i * 8);
				return 1;
			}
	}
	printf("%s bytes are zero\n", args[2]);
	close(fd);
	return 0;
}

/*
 * random FILE: two reads of 4096 bytes differ, and each byte value comes about as often as chance has it.  Of 4096 fair
 * bytes a value comes 16 times on average; that one comes more than 60 times is less likely than 10^-14.
 */
static int random_look(char **args)
{
	static unsigned char a[4096], b[4096];
	unsigned count[256] = { 0 }, values = 0;
	int fd = disk_open(args[0], O_RDONLY);

	for (unsigned got = 0; got < sizeof a + sizeof b;) {
		unsigned char *to = got < sizeof a ? a + got : b + (got - sizeof a);
		size_t room = got < sizeof a ? sizeof a - got : sizeof a + sizeof b - got;
		ssize_t n = read(fd, to, room);

		if (n <= 0) {
			printf("read: %s\n", n ? strerror(errno) : "end of file");
			return 1;
		}
		got += (unsigned)n;
	}
	close(fd);
	for (unsigned i = 0; i < sizeof a; i++)
		count[a[i]]++;
	for (unsigned i = 0; i < 256; i++) {
		values += count[i] != 0;
		if (count[i] > 60) {
			printf("byte value %u came %u times of %zu\n", i, count[i], sizeof a);
			return 1;
		}
	}
	if (!memcmp(a, b, sizeof a)) {
		printf("the second %zu bytes are the first again\n", sizeof a);
		return 1;
	}
	printf("%zu bytes, %u byte values in the first half\n", sizeof a + sizeof b, values);
	return 0;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";
	int args = argc - 2;

	if (!strcmp(verb, "stamp") && args == 5)
		return stamp(argv + 2, true);
	if (!strcmp(verb, "verify") && args == 5)
		return stamp(argv + 2, false);
	if (!strcmp(verb, "rounds") && args == 6)
		return rounds(argv + 2);
	if (!strcmp(verb, "held") && args == 3)
		return held(argv + 2);
	if (!strcmp(verb, "zero") && args == 3)
		return zero(argv + 2);
	if (!strcmp(verb, "iszero") && args == 3)
		return iszero(argv + 2);
	if (!strcmp(verb, "random") && args == 1)
		return random_look(argv + 2);
	fputs("usage: guestio stamp|verify DISK OFFSET LENGTH SEED THREADS\n"
	      "       guestio rounds ROLE DISK OFFSET LENGTH THREADS STOP\n"
	      "       guestio zero|iszero|held DISK OFFSET LENGTH\n"
	      "       guestio random FILE\n", stderr);
	return 2;
}
