/*
 * What a guest sees of its input devices, by evdev:
 *
 *   guestinput about NAME                     ids, serial number, properties, types, axes, in one line
 *   guestinput expect NAME READY EVENTS       makes the file READY when it listens; then these events come, and no others
 *                                             (T:C:V,T:C:V...; repeated keys are left out); 0, or says what came instead
 *   guestinput say NAME T C V                 lights and the like
 *   guestinput path NAME                      where it is
 *   guestinput taken NAME                     0 when somebody has it for himself alone
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { SECONDS = 30, BYTES = KEY_CNT / 8, FIRST_MINOR = 64 };

static int fail(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	return 1;
}

/* The device of that name, or -1. */
static int find(const char *name)
{
	char path[300], its[256];
	DIR *folder = opendir("/dev/input");

	for (struct dirent *e; folder && (e = readdir(folder));) {
		if (strncmp(e->d_name, "event", 5))
			continue;
		snprintf(path, sizeof path, "/dev/input/%s", e->d_name);
		int fd = open(path, O_RDWR);
		memset(its, 0, sizeof its);
		if (fd >= 0 && ioctl(fd, EVIOCGNAME(sizeof its - 1), its) >= 0 && !strcmp(its, name))
			return fd;
		close(fd);
	}
	errno = ENODEV;
	return -1;
}

static int has(const unsigned char *bits, unsigned i) { return bits[i / 8] >> i % 8 & 1; }

static int about(int fd)
{
	unsigned char types[EV_CNT / 8 + 1] = { 0 }, codes[BYTES] = { 0 }, properties[4] = { 0 };
	struct input_id id;
	char serial[256] = "";

	if (ioctl(fd, EVIOCGID, &id) || ioctl(fd, EVIOCGBIT(0, sizeof types), types) < 0)
		return fail("ids");
	ioctl(fd, EVIOCGUNIQ(sizeof serial - 1), serial);
	ioctl(fd, EVIOCGPROP(sizeof properties), properties);
	printf("%04x:%04x:%04x:%04x serial=%s properties=%x", id.bustype, id.vendor, id.product, id.version, serial, properties[0]);
	for (unsigned type = 1; type < EV_CNT; type++) {
		unsigned count = 0;
		if (!has(types, type))
			continue;
		memset(codes, 0, sizeof codes);
		ioctl(fd, EVIOCGBIT(type, sizeof codes), codes);
		for (unsigned i = 0; i < KEY_CNT; i++)
			count += (unsigned)has(codes, i);
		printf(" %u:%u", type, count);
	}
	memset(codes, 0, sizeof codes);
	ioctl(fd, EVIOCGBIT(EV_ABS, ABS_CNT / 8), codes);
	for (unsigned i = 0; i < ABS_CNT; i++) {
		struct input_absinfo a;
		if (has(codes, i) && !ioctl(fd, EVIOCGABS(i), &a))
			printf(" abs%u=%d..%d", i, a.minimum, a.maximum);
	}
	printf("\n");
	return 0;
}

/* One by one: the kernel gives no more than there is. */
static int next(int fd, struct input_event *e)
{
	do
		if (read(fd, e, sizeof *e) != sizeof *e)
			return 0;
	while (e->type == EV_KEY && e->value == 2);
	return 1;
}

static int expect(int fd, const char *ready, char *events)
{
	struct input_event e;
	unsigned n = 0;

	if (ioctl(fd, EVIOCGRAB, 1))
		return fail("grab");
	close(open(ready, O_CREAT | O_WRONLY, 0600));
	alarm(SECONDS);		/* ends the program, which has failed then */
	for (char *word = strtok(events, ","); word; word = strtok(NULL, ","), n++) {
		char came[64];
		if (!next(fd, &e))
			return fail("read");
		snprintf(came, sizeof came, "%u:%u:%d", e.type, e.code, e.value);
		if (strcmp(came, word)) {
			printf("event %u is %s, not %s\n", n, came, word);
			return 1;
		}
	}
	fcntl(fd, F_SETFL, O_NONBLOCK);
	if (next(fd, &e)) {
		printf("after %u events comes %u:%u:%d\n", n, e.type, e.code, e.value);
		return 1;
	}
	printf("%u events\n", n);
	return 0;
}

static int say(int fd, char **words)
{
	const struct input_event e = { .type = (unsigned short)atoi(words[0]), .code = (unsigned short)atoi(words[1]), .value = atoi(words[2]) };

	return write(fd, &e, sizeof e) == sizeof e ? 0 : fail("write");
}

int main(int argc, char **argv)
{
	int fd = argc > 2 ? find(argv[2]) : -1;

	struct stat status;
	if (fd < 0 || fstat(fd, &status))
		return fail("no such device");
	if (argc == 3 && !strcmp(argv[1], "about"))
		return about(fd);
	if (argc == 5 && !strcmp(argv[1], "expect"))
		return expect(fd, argv[3], argv[4]);
	if (argc == 3 && !strcmp(argv[1], "path"))
		return printf("/dev/input/event%d\n", (int)minor(status.st_rdev) - FIRST_MINOR) < 0;
	if (argc == 3 && !strcmp(argv[1], "taken"))
		return !ioctl(fd, EVIOCGRAB, 1) || errno != EBUSY;
	if (argc == 6 && !strcmp(argv[1], "say"))
		return say(fd, argv + 3);
	return 2;
}
