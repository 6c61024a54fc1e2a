/*
 * What programs do with files, in a folder that the host shares.  Each word is one check; what it leaves there is looked at
 * by the host (devices/fs.py).
 *
 *	guestfs WORD FOLDER [NUMBER]
 *
 * NUMBER: of files for tree, tree-see, readdir; 1 for attr and acl if files of the host belong to whoever makes them here.
 * Byte k of file i is (k * 7 + (k >> 8) * 13 + i), so that what is lost, old or moved shows.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { FOLDERS = 32, ROOM = 1 << 20, MANY = 4096 };

static unsigned char out[ROOM] __attribute__((aligned(4096))), in[ROOM] __attribute__((aligned(4096)));

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *what, ...)
{
	va_list list;
	int error = errno;

	va_start(list, what);
	vprintf(what, list);
	va_end(list);
	printf(": %s\n", strerror(error));
	fflush(stdout);
	_exit(1);
}

#define MUST(good) ((good) ? (void)0 : fail("line %d: %s", __LINE__, #good))
/* It must fail, and with this error. */
#define MUST_FAIL(call, error) do { \
	errno = 0; \
	if ((call) >= 0 || errno != (error)) \
		fail("line %d: %s, which should fail with %s", __LINE__, #call, #error); \
} while (0)

static unsigned char mark(size_t k, unsigned i) { return (unsigned char)(k * 7 + (k >> 8) * 13 + i); }

static void fill(size_t n, unsigned i)
{
	for (size_t k = 0; k < n; k++)
		out[k] = mark(k, i);
}

static void put(const char *name, size_t n, unsigned i)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	fill(n, i);
	if (fd < 0 || write(fd, out, n) != (ssize_t)n || close(fd))
		fail("writing %s", name);
}

static void see(const char *name, size_t n, unsigned i)
{
	int fd = open(name, O_RDONLY);

	fill(n, i);
	if (fd < 0 || read(fd, in, n + 1) != (ssize_t)n || memcmp(in, out, n))
		fail("%s is not as it was written", name);
	close(fd);
}

static struct stat of(const char *name)
{
	struct stat s;

	if (lstat(name, &s))
		fail("lstat %s", name);
	return s;
}

/* A child's work, which ends with its success. */
#define CHILD(work) do { \
	pid_t child_ = fork(); \
	int status_; \
	MUST(child_ >= 0); \
	if (!child_) { work; _exit(0); } \
	MUST(waitpid(child_, &status_, 0) == child_ && status_ == 0); \
} while (0)

/* ---- A thousand files ---- */

static size_t size_of(unsigned i) { return i * i * 37u % 20000; }

static void name_of(char *to, unsigned i) { sprintf(to, "tree/d%02u/f%04u", i % FOLDERS, i); }

static void tree_see(int files)
{
	char name[40];
	int found = 0;

	for (int i = 0; i < files; i++) {
		name_of(name, (unsigned)i);
		see(name, size_of((unsigned)i), (unsigned)i);
	}
	for (unsigned d = 0; d < FOLDERS; d++) {
		sprintf(name, "tree/d%02u", d);
		DIR *dir = opendir(name);
		if (!dir)
			fail("opendir %s", name);
		for (struct dirent *e; (e = readdir(dir));)
			found += e->d_type == DT_REG;
		closedir(dir);
	}
	MUST(found == files);
	printf("%d files in %d folders\n", found, FOLDERS);
}

static void tree(int files)
{
	char name[40];

	MUST(!mkdir("tree", 0755));
	for (unsigned d = 0; d < FOLDERS; d++) {
		sprintf(name, "tree/d%02u", d);
		MUST(!mkdir(name, 0755));
	}
	for (int i = 0; i < files; i++) {
		name_of(name, (unsigned)i);
		put(name, size_of((unsigned)i), (unsigned)i);
	}
	tree_see(files);
}

/* ---- Names ---- */

static void rename_(void)
{
	MUST(!mkdir("rename", 0755) && !chdir("rename"));
	MUST(!mkdir("full", 0755) && !mkdir("empty", 0755));
	put("full/x", 10, 1);
	put("a", 100, 2);
	put("b", 200, 3);
	MUST(!renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_EXCHANGE));
	see("a", 200, 3);
	see("b", 100, 2);
	MUST_FAIL(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE), EEXIST);
	MUST(!renameat2(AT_FDCWD, "a", AT_FDCWD, "c", RENAME_NOREPLACE));
	MUST_FAIL(open("a", O_RDONLY), ENOENT);
	MUST(!rename("c", "b"));
	see("b", 200, 3);
	MUST_FAIL(rename("empty", "full"), ENOTEMPTY);
	MUST_FAIL(rename("full", "full/inside"), EINVAL);
	MUST_FAIL(rename("b", "empty"), EISDIR);
	MUST_FAIL(rename("empty", "b"), ENOTDIR);
	MUST(!rename("full", "empty"));
	see("empty/x", 10, 1);
	int fd = open("b", O_RDONLY);
	MUST(fd >= 0 && !rename("b", "empty/moved") && read(fd, in, 200) == 200);
	see("empty/moved", 200, 3);
	MUST_FAIL(rmdir("empty"), ENOTEMPTY);
}

static void tmpfile_(void)
{
	char path[40];
	int fd = open(".", O_TMPFILE | O_RDWR, 0640);

	MUST(fd >= 0);
	fill(5000, 9);
	MUST(write(fd, out, 5000) == 5000);
	struct stat s;
	MUST(!fstat(fd, &s) && s.st_nlink == 0 && s.st_size == 5000);
	sprintf(path, "/proc/self/fd/%d", fd);
	MUST(!linkat(AT_FDCWD, path, AT_FDCWD, "from-nowhere", AT_SYMLINK_FOLLOW));
	see("from-nowhere", 5000, 9);
	MUST(of("from-nowhere").st_nlink == 1);
}

static void links(void)
{
	char target[100] = { 0 };

	MUST(!mkdir("links", 0755) && !chdir("links"));
	put("one", 1000, 4);
	MUST(!link("one", "two") && of("two").st_nlink == 2 && of("one").st_ino == of("two").st_ino);
	put("two", 300, 5);
	see("one", 300, 5);
	MUST(!unlink("one") && of("two").st_nlink == 1);
	MUST(!symlink("two", "soft") && readlink("soft", target, 99) == 3 && !strcmp(target, "two"));
	see("soft", 300, 5);
	MUST(!symlink("nothing", "dangling"));
	MUST_FAIL(open("dangling", O_RDONLY), ENOENT);
	MUST_FAIL(open("soft", O_RDONLY | O_NOFOLLOW), ELOOP);
	MUST_FAIL(link("links", "more"), ENOENT);
	MUST_FAIL(symlink("x", "soft"), EEXIST);
}

static void nodes(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "socket" };

	MUST(!mkdir("nodes", 0755) && !chdir("nodes"));
	MUST(!mkfifo("pipe", 0600) && S_ISFIFO(of("pipe").st_mode));
	CHILD(int fd = open("pipe", O_RDWR); MUST(write(fd, "hello", 5) == 5 && read(fd, in, 5) == 5 && !memcmp(in, "hello", 5)));
	int s = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0);
	MUST(!bind(s, (struct sockaddr *)&a, sizeof a) && S_ISSOCK(of("socket").st_mode));
	MUST(!listen(s, 1) && !connect(c, (struct sockaddr *)&a, sizeof a));
	MUST_FAIL(mknod("device", S_IFCHR | 0600, makedev(1, 3)), EPERM);
	MUST_FAIL(mknod("disk", S_IFBLK | 0600, makedev(254, 0)), EPERM);
}

/* What was there all the time is told once, what has gone and what comes may be told; places can be gone back to. */
static void readdir_(int names)
{
	static unsigned char seen[MANY];
	char name[40];
	int told = 0;
	struct dirent *e;

	MUST(names <= MANY && !mkdir("many", 0755) && !chdir("many"));
	for (int i = 0; i < names; i++) {
		sprintf(name, "a-name-of-some-length-%04d", i);
		int fd = open(name, O_CREAT | O_WRONLY, 0600);
		MUST(fd >= 0 && !close(fd));
	}
	DIR *dir = opendir(".");
	MUST(dir);
	while ((e = readdir(dir))) {
		int i = -1;
		if (sscanf(e->d_name, "a-name-of-some-length-%d", &i) != 1)
			continue;
		MUST(i >= 0 && i < names && !seen[i]++);
		if (i % 2)
			MUST(!unlink(e->d_name));
		if (++told % 10 == 0) {
			sprintf(name, "new-%d", told);
			MUST(close(open(name, O_CREAT | O_WRONLY, 0600)) == 0);
		}
	}
	MUST(told == names);
	rewinddir(dir);
	for (int i = 0; i < names / 4; i++)
		MUST(readdir(dir));
	long place = telldir(dir);
	MUST((e = readdir(dir)));
	strcpy(name, e->d_name);
	for (int i = 0; i < names / 4; i++)
		readdir(dir);
	seekdir(dir, place);
	MUST((e = readdir(dir)) && !strcmp(e->d_name, name));
	printf("%d names\n", told);
}

/* ---- Contents ---- */

static void mmap_(void)
{
	int fd = open("mapped", O_RDWR | O_CREAT, 0644);
	size_t n = 300000;

	fill(n, 6);
	MUST(fd >= 0 && !ftruncate(fd, (off_t)n));
	unsigned char *m = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	MUST(m != MAP_FAILED);
	memcpy(m, out, n);
	CHILD(MUST(!memcmp(m, out, n)); m[77] ^= 1);
	out[77] ^= 1;
	MUST(!memcmp(m, out, n) && !msync(m, n, MS_SYNC));
	MUST(pread(fd, in, n, 0) == (ssize_t)n && !memcmp(in, out, n));
	MUST(pwrite(fd, "from beside", 11, 100000) == 11 && !memcmp(m + 100000, "from beside", 11));
	unsigned char *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	MUST(p != MAP_FAILED);
	p[5] = 99;
	MUST(m[5] == out[5] && !munmap(m, n) && !munmap(p, n) && !close(fd));
}

static void direct(void)
{
	int fd = open("direct", O_RDWR | O_CREAT | O_DIRECT, 0644), append = open("appended", O_WRONLY | O_CREAT | O_APPEND, 0644);

	fill(ROOM, 7);
	MUST(fd >= 0 && pwrite(fd, out, ROOM, 4096) == ROOM && pread(fd, in, ROOM, 4096) == ROOM && !memcmp(in, out, ROOM));
	MUST(pread(fd, in, 4096, 0) == 4096 && !in[0] && !in[4095]);
	MUST(pread(fd, in, 4096, 1 << 22) == 0);
	MUST(append >= 0);
	for (unsigned i = 0; i < 100; i++)
		MUST(write(append, out, 77) == 77);
	MUST(of("appended").st_size == 7700 && !fsync(fd) && !fdatasync(append) && !syncfs(fd));
	close(fd);
	close(append);
}

static void space(void)
{
	int fd = open("space", O_RDWR | O_CREAT, 0644);
	struct stat s;

	MUST(fd >= 0 && !fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 1 << 20) && !fstat(fd, &s) && !s.st_size && s.st_blocks >= 2048);
	MUST(!fallocate(fd, 0, 0, 1 << 20) && !fstat(fd, &s) && s.st_size == 1 << 20);
	fill(ROOM, 8);
	MUST(pwrite(fd, out, ROOM, 0) == ROOM && !fsync(fd));
	MUST(!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 256 << 10, 512 << 10));
	memset(out + (256 << 10), 0, 512 << 10);
	MUST(pread(fd, in, ROOM, 0) == ROOM && !memcmp(in, out, ROOM));
	MUST(lseek(fd, 0, SEEK_HOLE) == 256 << 10 && lseek(fd, 256 << 10, SEEK_DATA) == 768 << 10);
	MUST(lseek(fd, 800 << 10, SEEK_HOLE) == 1 << 20);
	MUST_FAIL(lseek(fd, 2 << 20, SEEK_DATA), ENXIO);
	MUST_FAIL(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 4096), EOPNOTSUPP);
	MUST(!fstat(fd, &s) && s.st_blocks <= 1024 + 64 && !close(fd));
	MUST(!truncate("space", 900000) && of("space").st_size == 900000);
}

static void copy(void)
{
	put("source", ROOM, 10);
	int from = open("source", O_RDONLY), to = open("copied", O_RDWR | O_CREAT, 0644);
	loff_t a = 1000, b = 50000;
	MUST(from >= 0 && to >= 0);
	for (size_t left = 700000; left;) {
		ssize_t n = copy_file_range(from, &a, to, &b, left, 0);
		if (n <= 0)
			fail("copy_file_range");
		left -= (size_t)n;
	}
	fill(ROOM, 10);
	MUST(pread(to, in, 700001, 50000) == 700000 && !memcmp(in, out + 1000, 700000));
	MUST(of("copied").st_size == 750000);
}

static void unlinked(void)
{
	struct stat s;

	put("going", 5000, 11);
	int fd = open("going", O_RDWR);
	MUST(fd >= 0 && !unlink("going"));
	MUST_FAIL(open("going", O_RDONLY), ENOENT);
	fill(5000, 11);
	MUST(pread(fd, in, 5000, 0) == 5000 && !memcmp(in, out, 5000) && pwrite(fd, "more", 4, 9000) == 4);
	MUST(!ftruncate(fd, 100) && !fchmod(fd, 0600) && !fstat(fd, &s) && s.st_nlink == 0 && s.st_size == 100);
	put("going", 10, 12);		/* another file of the same name */
	fill(100, 11);
	MUST(pread(fd, in, 5000, 0) == 100 && !memcmp(in, out, 100) && !close(fd));
	see("going", 10, 12);
	MUST(!mkdir("gone", 0755));
	fd = open("gone", O_RDONLY | O_DIRECTORY);
	MUST(fd >= 0 && !rmdir("gone"));
	MUST_FAIL(openat(fd, "x", O_CREAT | O_WRONLY, 0600), ENOENT);
}

/* ---- Attributes ---- */

/* users: the host makes files as whoever asks; otherwise there is only root. */
static void attr(int users)
{
	struct timespec t[2] = { { 1000000000, 123456789 }, { 2000000000, 987654321 } };
	struct stat s;

	put("attr", 100, 13);
	MUST(!chmod("attr", 0604) && (of("attr").st_mode & 07777) == 0604);
	MUST(!utimensat(AT_FDCWD, "attr", t, 0));
	s = of("attr");
	MUST(s.st_atim.tv_sec == t[0].tv_sec && s.st_atim.tv_nsec == t[0].tv_nsec);
	MUST(s.st_mtim.tv_sec == t[1].tv_sec && s.st_mtim.tv_nsec == t[1].tv_nsec);
	MUST(!mkdir("everybody", 0777) && !chmod("everybody", 01777));
	if (!users) {
		MUST_FAIL(chown("attr", 1000, 1001), EPERM);
		CHILD(MUST(!setgid(1001) && !setuid(1000)); MUST_FAIL(open("everybody/theirs", O_CREAT | O_WRONLY, 0640), EPERM));
		return;
	}
	MUST(!chown("attr", 1000, 1001));
	s = of("attr");
	MUST(s.st_uid == 1000 && s.st_gid == 1001);
	CHILD(MUST(!setgid(1001) && !setuid(1000)); put("everybody/theirs", 10, 14); put("attr", 50, 15);
	    MUST_FAIL(chown("attr", 0, 0), EPERM));
	CHILD(MUST(!setgid(7) && !setuid(7)); MUST_FAIL(unlink("everybody/theirs"), EPERM); MUST_FAIL(open("attr", O_WRONLY), EACCES));
	s = of("everybody/theirs");
	MUST(s.st_uid == 1000 && s.st_gid == 1001);
	MUST(!chmod("attr", 06777));
	CHILD(MUST(!setgid(7) && !setuid(7)); int fd = open("attr", O_WRONLY); MUST(fd >= 0 && pwrite(fd, "x", 1, 0) == 1));
	MUST((of("attr").st_mode & 07000) == 0);	/* who writes to it loses it its privileges */
}

static void xattr(void)
{
	char list[200];

	put("xattr", 1, 16);
	fill(4000, 16);
	MUST(!setxattr("xattr", "user.one", "1", 1, XATTR_CREATE) && !setxattr("xattr", "user.two", out, 2000, 0));
	MUST_FAIL(setxattr("xattr", "user.one", "2", 1, XATTR_CREATE), EEXIST);
	MUST_FAIL(setxattr("xattr", "user.none", "2", 1, XATTR_REPLACE), ENODATA);
	MUST(getxattr("xattr", "user.two", NULL, 0) == 2000 && getxattr("xattr", "user.two", in, 4000) == 2000 && !memcmp(in, out, 2000));
	MUST_FAIL(getxattr("xattr", "user.two", in, 100), ERANGE);
	MUST_FAIL(getxattr("xattr", "user.none", in, 100), ENODATA);
	MUST(listxattr("xattr", list, sizeof list) == 18 && !removexattr("xattr", "user.one"));
	MUST(listxattr("xattr", list, sizeof list) == 9 && !strcmp(list, "user.two"));
	MUST_FAIL(setxattr("xattr", "trusted.x", "1", 1, 0), EOPNOTSUPP);	/* would mean something to the host */
}

struct acl { uint32_t version; struct { uint16_t tag, perm; uint32_t id; } entry[5]; };
enum { OWNER = 1, USER = 2, GROUP = 4, MASK = 16, OTHER = 32, NONE = -1 };

static void acl(int users)
{
	struct acl a = { 2, { { OWNER, 6, NONE }, { USER, 4, users ? 1000 : 0 }, { GROUP, 0, NONE }, { MASK, 4, NONE },
	    { OTHER, 0, NONE } } };

	MUST(!mkdir("acl", 0755) && !chdir("acl"));
	put("file", 10, 17);
	MUST(!setxattr("file", "system.posix_acl_access", &a, sizeof a, 0));
	MUST((of("file").st_mode & 0777) == 0640);
	MUST(getxattr("file", "system.posix_acl_access", in, 1000) == sizeof a && !memcmp(in, &a, sizeof a));
	MUST(!mkdir("folder", 0755) && !setxattr("folder", "system.posix_acl_default", &a, sizeof a, 0));
	umask(077);			/* which yields to the folder's default */
	put("folder/inherits", 10, 18);
	umask(022);
	MUST((of("folder/inherits").st_mode & 0777) == 0640);
	MUST(getxattr("folder/inherits", "system.posix_acl_access", in, 1000) == sizeof a);
	if (!users)
		return;
	CHILD(MUST(!setgid(1001) && !setuid(1000)); see("file", 10, 17); MUST_FAIL(open("file", O_WRONLY), EACCES));
	CHILD(MUST(!setgid(7) && !setuid(7)); MUST_FAIL(open("file", O_RDONLY), EACCES));
}

static void statfs_(void)
{
	struct statfs s;

	MUST(!statfs(".", &s) && s.f_type == 0x65735546 && s.f_blocks && s.f_bsize && s.f_namelen == 255);
	printf("%llu MiB free\n", (unsigned long long)(s.f_bavail * (uint64_t)s.f_frsize >> 20));
}

/* ---- Locks ---- */

static int set(int fd, int how, short type, off_t start, off_t length)
{
	struct flock l = { .l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length };

	return fcntl(fd, how, &l);
}

/* A wait is not interrupted here: Linux 6.1 does not pass that on (virtio_fs_wake_interrupt_and_unlock). */
static void posix_child(int fd, int tell)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 100 };

	MUST_FAIL(set(fd, F_SETLK, F_WRLCK, 50, 10), EAGAIN);
	MUST_FAIL(set(fd, F_SETLK, F_RDLCK, 0, 0), EAGAIN);
	MUST(!set(fd, F_SETLK, F_WRLCK, 100, 10));
	MUST(!fcntl(fd, F_GETLK, &l) && l.l_type == F_WRLCK && l.l_pid == getppid() && l.l_start == 0 && l.l_len == 100);
	MUST(write(tell, "w", 1) == 1);
	MUST(!set(fd, F_SETLKW, F_WRLCK, 0, 10));
}

static void locks(void)
{
	int p[2], fd = open("locks", O_RDWR | O_CREAT, 0644), other, status;
	char c;

	MUST(fd >= 0 && !pipe(p) && !set(fd, F_SETLK, F_WRLCK, 0, 100));
	pid_t child = fork();
	MUST(child >= 0);
	if (!child) {
		posix_child(fd, p[1]);
		_exit(0);
	}
	close(p[1]);
	MUST(read(p[0], &c, 1) == 1);		/* it waits now, or soon will */
	usleep(100000);
	MUST(waitpid(child, &status, WNOHANG) == 0);
	MUST(!set(fd, F_SETLK, F_UNLCK, 0, 100) && waitpid(child, &status, 0) == child && status == 0);
	MUST(!set(fd, F_SETLK, F_WRLCK, 0, 0) && (other = open("locks", O_RDWR)) >= 0 && !close(other));	/* a close drops them */
	CHILD(MUST(!set(fd, F_SETLK, F_WRLCK, 0, 0)));
	MUST((other = open("locks", O_RDWR)) >= 0 && !flock(fd, LOCK_SH) && !flock(other, LOCK_SH | LOCK_NB));
	MUST_FAIL(flock(other, LOCK_EX | LOCK_NB), EWOULDBLOCK);
	MUST(!flock(fd, LOCK_UN) && !flock(other, LOCK_EX | LOCK_NB));
	MUST_FAIL(flock(fd, LOCK_SH | LOCK_NB), EWOULDBLOCK);
	MUST(!close(other) && !flock(fd, LOCK_SH | LOCK_NB));
}

/* The host has locked "of-the-host". */
static void hostlock(void)
{
	int fd = open("of-the-host", O_RDWR);
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	MUST(fd >= 0);
	MUST_FAIL(set(fd, F_SETLK, F_WRLCK, 0, 0), EAGAIN);
	MUST(!fcntl(fd, F_GETLK, &l) && l.l_type == F_WRLCK);
}

/* Locks "of-the-guest" until the host has made "go". */
static void hold(void)
{
	int fd = open("of-the-guest", O_RDWR | O_CREAT, 0666);

	MUST(fd >= 0 && !set(fd, F_SETLK, F_WRLCK, 10, 10));
	MUST(close(open("held", O_CREAT | O_WRONLY, 0600)) == 0);
	for (int i = 0; access("go", F_OK); i++) {
		if (i == 400)
			fail("20 seconds passed without a word of the host");
		usleep(50000);
	}
}

/* ---- Ways out ---- */

/* The host has made links: out to a folder beside the shared one, by a whole path; up to a file there, by "..". */
static void outside(void)
{
	MUST_FAIL(open("out/secret", O_RDONLY), ENOENT);
	MUST_FAIL(open("up", O_RDONLY), ENOENT);
	MUST_FAIL(open("out/new", O_CREAT | O_WRONLY, 0600), ENOENT);
	MUST(!symlink("../outside/written", "mine"));
	MUST_FAIL(open("mine", O_CREAT | O_WRONLY, 0600), ENOENT);
	MUST_FAIL(truncate("up", 0), ENOENT);
	MUST(S_ISLNK(of("out").st_mode) && !lchown("up", 0, 0));
	struct stat up, here;
	MUST(!stat("..", &up) && !stat(".", &here) && up.st_dev != here.st_dev);	/* it is the guest's own */
}

static const struct { const char *word; void (*check)(void); void (*check_number)(int number); } words[] = {
	{ "tree", NULL, tree }, { "tree-see", NULL, tree_see }, { "rename", rename_, NULL }, { "tmpfile", tmpfile_, NULL },
	{ "links", links, NULL }, { "nodes", nodes, NULL }, { "readdir", NULL, readdir_ }, { "mmap", mmap_, NULL },
	{ "direct", direct, NULL }, { "space", space, NULL }, { "copy", copy, NULL }, { "unlinked", unlinked, NULL },
	{ "attr", NULL, attr }, { "xattr", xattr, NULL }, { "acl", NULL, acl }, { "statfs", statfs_, NULL },
	{ "locks", locks, NULL }, { "hostlock", hostlock, NULL }, { "hold", hold, NULL }, { "outside", outside, NULL },
};

int main(int argc, char **argv)
{
	umask(022);
	alarm(60);
	for (size_t i = 0; argc >= 3 && i < sizeof words / sizeof *words; i++) {
		if (strcmp(argv[1], words[i].word))
			continue;
		if (chdir(argv[2]))
			fail("%s", argv[2]);
		if (words[i].check)
			words[i].check();
		else
			words[i].check_number(argc > 3 ? atoi(argv[3]) : 0);
		return 0;
	}
	fprintf(stderr, "see the head of guestfs.c\n");
	return 2;
}
