/*
 * What a hostile driver can say to the file system device: each row is answered with its error, or not at all; the next
 * request is served, in this queue and in the other; and a reset heals what may be left.
 *
 * Arguments are hexadecimal as they lie in memory; letters stand for eight bytes that are known only then:
 *   F, D a file's and a folder's node    H, G their handles    X a number nobody was given    M the largest number
 * What follows the arguments (names, bytes) is text in which "$" is a NUL.
 */
#include "fs_rig.h"

enum { ANY = -1, SILENT = -2 };
#define Z8 "0000000000000000"
#define U1 "0100000000000000"
#define U100 "6400000000000000"
#define LONG50 "01234567890123456789012345678901234567890123456789"
#define LONG250 LONG50 LONG50 LONG50 LONG50 LONG50
#define LONG4000 LONG250 LONG250 LONG250 LONG250 LONG250 LONG250 LONG250 LONG250 LONG250 LONG250 LONG250 LONG250 LONG250 LONG250 \
	LONG250 LONG250

struct bad {
	const char *what;
	uint32_t opcode;
	char node;
	const char *args, *tail;
	unsigned room;			/* behind the answer's header */
	int error;			/* or ANY, SILENT */
	bool refused;			/* counted as the driver's mistake */
	unsigned extensions;		/* what the header says of them, in units of 8 bytes */
};

static const struct bad bad[] = {
	/* names */
	{ "LOOKUP without a name", VIO_FUSE_LOOKUP, 'D', "", "", 128, EINVAL, true },
	{ "LOOKUP of a name without an end", VIO_FUSE_LOOKUP, 'D', "", "abc", 128, EINVAL, true },
	{ "LOOKUP of an empty name", VIO_FUSE_LOOKUP, 'D', "", "$", 128, EINVAL, true },
	{ "LOOKUP with a slash", VIO_FUSE_LOOKUP, 'D', "", "a/b$", 128, EINVAL, true },
	{ "LOOKUP of the host's root", VIO_FUSE_LOOKUP, 'D', "", "/$", 128, EINVAL, true },
	{ "LOOKUP of ../..", VIO_FUSE_LOOKUP, 'D', "", "../..$", 128, EINVAL, true },
	{ "LOOKUP of 256 bytes", VIO_FUSE_LOOKUP, 'D', "", LONG250 "012345$", 128, ENAMETOOLONG, false },
	{ "LOOKUP of 256 bytes without an end", VIO_FUSE_LOOKUP, 'D', "", LONG250 "012345", 128, EINVAL, true },
	{ "LOOKUP of 4000 bytes", VIO_FUSE_LOOKUP, 'D', "", LONG4000 "$", 128, ENAMETOOLONG, false },
	{ "MKDIR .", VIO_FUSE_MKDIR, 'D', "ed01000000000000", ".$", 128, EINVAL, true },
	{ "MKDIR ..", VIO_FUSE_MKDIR, 'D', "ed01000000000000", "..$", 128, EINVAL, true },
	{ "MKDIR with a slash at the end", VIO_FUSE_MKDIR, 'D', "ed01000000000000", "x/$", 128, EINVAL, true },
	{ "CREATE ..", VIO_FUSE_CREATE, 'D', "02000000a4810000" Z8, "..$", 144, EINVAL, true },
	{ "CREATE without a name", VIO_FUSE_CREATE, 'D', "02000000a4810000" Z8, "", 144, EINVAL, true },
	{ "MKNOD ..", VIO_FUSE_MKNOD, 'D', "a4810000" "00000000" Z8, "..$", 128, EINVAL, true },
	{ "MKNOD of a folder", VIO_FUSE_MKNOD, 'D', "ed410000" "00000000" Z8, "x$", 128, EINVAL, true },
	{ "MKNOD of no kind there is", VIO_FUSE_MKNOD, 'D', "00700000" "00000000" Z8, "x$", 128, EINVAL, true },
	{ "MKNOD of more than sixteen bits", VIO_FUSE_MKNOD, 'D', "a4810100" "00000000" Z8, "x$", 128, EINVAL, true },
	{ "UNLINK ..", VIO_FUSE_UNLINK, 'D', "", "..$", 0, EINVAL, true },
	{ "RMDIR .", VIO_FUSE_RMDIR, 'D', "", ".$", 0, EINVAL, true },
	{ "RMDIR with a slash", VIO_FUSE_RMDIR, 'D', "", "../x$", 0, EINVAL, true },
	{ "RENAME with one name", VIO_FUSE_RENAME, 'D', "D", "a$", 0, EINVAL, true },
	{ "RENAME from ..", VIO_FUSE_RENAME, 'D', "D", "..$a$", 0, EINVAL, true },
	{ "RENAME to ..", VIO_FUSE_RENAME, 'D', "D", "a$..$", 0, EINVAL, true },
	{ "RENAME to a slash", VIO_FUSE_RENAME, 'D', "D", "a$/etc/x$", 0, EINVAL, true },
	{ "RENAME whose second name has no end", VIO_FUSE_RENAME, 'D', "D", "a$b", 0, EINVAL, true },
	{ "RENAME to a folder nobody knows", VIO_FUSE_RENAME, 'D', "X", "a$b$", 0, ESTALE, false },
	{ "RENAME2 with flags nobody knows", VIO_FUSE_RENAME2, 'D', "D" "0800000000000000", "a$b$", 0, EINVAL, false },
	{ "RENAME2 to ..", VIO_FUSE_RENAME2, 'D', "D" "0200000000000000", "a$..$", 0, EINVAL, true },
	{ "LINK as ..", VIO_FUSE_LINK, 'D', "F", "..$", 128, EINVAL, true },
	{ "LINK of a file nobody knows", VIO_FUSE_LINK, 'D', "X", "x$", 128, ESTALE, false },
	{ "LINK of number 0", VIO_FUSE_LINK, 'D', Z8, "x$", 128, ESTALE, false },
	{ "SYMLINK without a target", VIO_FUSE_SYMLINK, 'D', "", "x$", 128, EINVAL, true },
	{ "SYMLINK with an empty target", VIO_FUSE_SYMLINK, 'D', "", "x$$", 128, EINVAL, true },
	{ "SYMLINK whose target has no end", VIO_FUSE_SYMLINK, 'D', "", "x$abc", 128, EINVAL, true },
	{ "SYMLINK to 4096 bytes", VIO_FUSE_SYMLINK, 'D', "",
		"x$" LONG4000 LONG50 "0123456789012345678901234567890123456789012345$", 128,
		ENAMETOOLONG, false },
	{ "SYMLINK called ..", VIO_FUSE_SYMLINK, 'D', "", "..$x$", 128, EINVAL, true },
	{ "TMPFILE whose name has no end", VIO_FUSE_TMPFILE, 'D', "02000000a4810000" Z8, "abc", 144, EINVAL, true },
	/* nodes that were never handed out, or are of another kind */
	{ "LOOKUP in a node nobody knows", VIO_FUSE_LOOKUP, 'X', "", "x$", 128, ESTALE, false },
	{ "LOOKUP in node 0", VIO_FUSE_LOOKUP, '0', "", "x$", 128, ESTALE, false },
	{ "LOOKUP in the largest node", VIO_FUSE_LOOKUP, 'M', "", "x$", 128, ESTALE, false },
	{ "LOOKUP in a file", VIO_FUSE_LOOKUP, 'F', "", "x$", 128, ENOTDIR, false },
	{ "CREATE in a file", VIO_FUSE_CREATE, 'F', "02000000a4810000" Z8, "x$", 144, ENOTDIR, false },
	{ "GETATTR of a node nobody knows", VIO_FUSE_GETATTR, 'X', Z8 Z8, "", 104, ESTALE, false },
	{ "OPEN of a node nobody knows", VIO_FUSE_OPEN, 'X', Z8, "", 16, ESTALE, false },
	{ "OPENDIR of a file", VIO_FUSE_OPENDIR, 'F', Z8, "", 16, ENOTDIR, false },
	{ "READLINK of a file", VIO_FUSE_READLINK, 'F', "", "", 100, EINVAL, false },
	{ "READLINK of a node nobody knows", VIO_FUSE_READLINK, 'X', "", "", 100, ESTALE, false },
	{ "STATFS of a node nobody knows", VIO_FUSE_STATFS, 'X', "", "", 80, ANY, false },
	/* handles that were never handed out, or are of another kind */
	{ "READ by a folder's handle", VIO_FUSE_READ, 'D', "G" Z8 U100 Z8 Z8, "", 100, EBADF, false },
	{ "READ by another file's handle", VIO_FUSE_READ, 'D', "H" Z8 U100 Z8 Z8, "", 100, EBADF, false },
	{ "READ by handle 0", VIO_FUSE_READ, 'F', Z8 Z8 U100 Z8 Z8, "", 100, EBADF, false },
	{ "READ by the largest handle", VIO_FUSE_READ, 'F', "M" Z8 U100 Z8 Z8, "", 100, EBADF, false },
	{ "WRITE by a folder's handle", VIO_FUSE_WRITE, 'D', "G" Z8 U1 Z8 Z8, "x", 8, EBADF, false },
	{ "READDIR by a file's handle", VIO_FUSE_READDIR, 'F', "H" Z8 U100 Z8 Z8, "", 100, EBADF, false },
	{ "READDIRPLUS by a handle nobody knows", VIO_FUSE_READDIRPLUS, 'D', "X" Z8 U100 Z8 Z8, "", 100, EBADF, false },
	{ "FSYNC by a handle nobody knows", VIO_FUSE_FSYNC, 'F', "X" Z8, "", 0, EBADF, false },
	{ "FSYNCDIR by a file's handle", VIO_FUSE_FSYNCDIR, 'F', "H" Z8, "", 0, ANY, false },
	{ "FLUSH by a handle nobody knows", VIO_FUSE_FLUSH, 'F', "X" Z8 Z8, "", 0, ANY, false },
	{ "RELEASE of a handle nobody knows", VIO_FUSE_RELEASE, 'F', "X" Z8 Z8, "", 0, 0, false },
	{ "RELEASEDIR of a file's handle", VIO_FUSE_RELEASEDIR, 'D', "H" Z8 Z8, "", 0, 0, false },
	{ "SETATTR by a handle nobody knows", VIO_FUSE_SETATTR, 'F', "4800000000000000" "X" Z8 Z8 Z8 Z8 Z8 Z8 Z8 Z8 Z8, "", 104, ANY,
		false },
	{ "LSEEK by a folder's handle", VIO_FUSE_LSEEK, 'D', "G" Z8 Z8, "", 8, ANY, false },
	{ "FALLOCATE by a handle nobody knows", VIO_FUSE_FALLOCATE, 'F', "X" Z8 U1 Z8, "", 0, EBADF, false },
	{ "SETLK by a folder's handle", VIO_FUSE_SETLK, 'D', "G" Z8 Z8 Z8 Z8 Z8, "", 0, EBADF, false },
	{ "COPY_FILE_RANGE to a file nobody knows", VIO_FUSE_COPY_FILE_RANGE, 'F', "H" Z8 "X" "H" Z8 U1 Z8, "", 8, ANY,
		false },
	{ "COPY_FILE_RANGE to a folder", VIO_FUSE_COPY_FILE_RANGE, 'F', "H" Z8 "D" "G" Z8 U1 Z8, "", 8, EBADF, false },
	/* offsets and sizes */
	{ "READ from a negative offset", VIO_FUSE_READ, 'F', "H" "ffffffffffffffff" U1 Z8 Z8, "", 1, EINVAL, true },
	{ "READ across the end of numbers", VIO_FUSE_READ, 'F', "H" "ffffffffffffff7f" U1 Z8 Z8, "", 1, EINVAL, true },
	{ "READ of more than there is room for", VIO_FUSE_READ, 'F', "H" Z8 "6500000000000000" Z8 Z8, "", 100, EINVAL, true },
	{ "READ of 4 GiB", VIO_FUSE_READ, 'F', "H" Z8 "ffffffff00000000" Z8 Z8, "", 100, EINVAL, true },
	{ "WRITE of more than there is", VIO_FUSE_WRITE, 'F', "H" Z8 "0400000000000000" Z8 Z8, "abc", 8, EINVAL, true },
	{ "WRITE of 4 GiB", VIO_FUSE_WRITE, 'F', "H" Z8 "ffffffff00000000" Z8 Z8, "abc", 8, EINVAL, true },
	{ "WRITE to a negative offset", VIO_FUSE_WRITE, 'F', "H" "0000000000000080" "0300000000000000" Z8 Z8, "abc", 8, EINVAL, true },
	{ "WRITE across the end of numbers", VIO_FUSE_WRITE, 'F', "H" "feffffffffffff7f" "0300000000000000" Z8 Z8,
		"abc", 8, EINVAL, true },
	{ "READDIR of more than there is room for", VIO_FUSE_READDIR, 'D', "G" Z8 "6500000000000000" Z8 Z8, "", 100, EINVAL, true },
	{ "READDIR from an offset made up", VIO_FUSE_READDIR, 'D', "G" "3930000000000000" U100 Z8 Z8, "", 100, ANY, false },
	{ "READDIR from a negative offset", VIO_FUSE_READDIR, 'D', "G" "ffffffffffffffff" U100 Z8 Z8, "", 100, ANY, false },
	{ "READDIRPLUS from an offset made up", VIO_FUSE_READDIRPLUS, 'D', "G" "M" U100 Z8 Z8, "", 100, ANY, false },
	{ "READDIR into nothing", VIO_FUSE_READDIR, 'D', "G" Z8 Z8 Z8 Z8, "", 0, ANY, false },
	{ "FALLOCATE of nothing", VIO_FUSE_FALLOCATE, 'F', "H" Z8 Z8 Z8, "", 0, EINVAL, true },
	{ "FALLOCATE at a negative offset", VIO_FUSE_FALLOCATE, 'F', "H" "M" U1 Z8, "", 0, EINVAL, true },
	{ "FALLOCATE across the end of numbers", VIO_FUSE_FALLOCATE, 'F', "H" U1 "ffffffffffffff7f" Z8, "", 0, EINVAL, true },
	{ "LSEEK with a whence nobody knows", VIO_FUSE_LSEEK, 'F', "H" Z8 "0500000000000000", "", 8, EINVAL, true },
	{ "LSEEK for data at a negative offset", VIO_FUSE_LSEEK, 'F', "H" "M" "0300000000000000", "", 8, ANY, false },
	{ "COPY_FILE_RANGE with flags", VIO_FUSE_COPY_FILE_RANGE, 'F', "H" Z8 "F" "H" Z8 U1 U1, "", 8, EINVAL,
		true },
	{ "COPY_FILE_RANGE from a negative offset", VIO_FUSE_COPY_FILE_RANGE, 'F', "H" "M" "F" "H" Z8 U1 Z8, "", 8, EINVAL,
		true },
	{ "COPY_FILE_RANGE to a negative offset", VIO_FUSE_COPY_FILE_RANGE, 'F', "H" Z8 "F" "H" "M" U1 Z8, "", 8, EINVAL, true },
	{ "SETATTR of a negative size", VIO_FUSE_SETATTR, 'F', "0800000000000000" Z8 "M" Z8 Z8 Z8 Z8 Z8 Z8 Z8 Z8,
		"", 104, EINVAL, true },
	{ "SETATTR of a billion nanoseconds", VIO_FUSE_SETATTR, 'F',
		"2000000000000000" Z8 Z8 Z8 Z8 Z8 Z8 "00ca9a3b00ca9a3b" Z8 Z8 Z8, "",
		104, EINVAL, true },
	{ "ACCESS with a mask nobody knows", VIO_FUSE_ACCESS, 'F', "0800000000000000", "", 0, EINVAL, true },
	/* locks */
	{ "SETLK of a type nobody knows", VIO_FUSE_SETLK, 'F', "H" Z8 Z8 Z8 "0300000000000000" Z8, "", 0, EINVAL, true },
	{ "SETLK that ends before it begins", VIO_FUSE_SETLK, 'F',
		"H" Z8 "0500000000000000" "0400000000000000" Z8 Z8, "", 0, EINVAL, true },
	{ "SETLKW beyond all files", VIO_FUSE_SETLKW, 'F', "H" Z8 Z8 "M" Z8 Z8, "", 0, EINVAL, true },
	{ "GETLK of a type nobody knows", VIO_FUSE_GETLK, 'F', "H" Z8 Z8 Z8 "ffffffff00000000" Z8, "", 24, EINVAL, true },
	/* extended attributes */
	{ "SETXATTR of more than there is", VIO_FUSE_SETXATTR, 'F', "0400000000000000" Z8, "user.x$abc", 0, EINVAL, true },
	{ "SETXATTR of 4 GiB", VIO_FUSE_SETXATTR, 'F', "ffffffff00000000" Z8, "user.x$abc", 0, EINVAL, true },
	{ "SETXATTR with flags nobody knows", VIO_FUSE_SETXATTR, 'F', "0300000004000000" Z8, "user.x$abc", 0, EINVAL, true },
	{ "SETXATTR of a name without an end", VIO_FUSE_SETXATTR, 'F', Z8 Z8, "user.x", 0, EINVAL, true },
	{ "SETXATTR of an empty name", VIO_FUSE_SETXATTR, 'F', Z8 Z8, "$", 0, EINVAL, true },
	{ "SETXATTR of a name of 256 bytes", VIO_FUSE_SETXATTR, 'F', Z8 Z8, LONG250 "012345$", 0, ERANGE, false },
	{ "GETXATTR of more than there is room for", VIO_FUSE_GETXATTR, 'F', "6500000000000000", "user.x$", 100, EINVAL, true },
	{ "GETXATTR's size without room for it", VIO_FUSE_GETXATTR, 'F', Z8, "user.x$", 7, EINVAL, true },
	{ "GETXATTR without a name", VIO_FUSE_GETXATTR, 'F', Z8, "", 8, EINVAL, true },
	{ "LISTXATTR of more than there is room for", VIO_FUSE_LISTXATTR, 'F', "6500000000000000", "", 100, EINVAL, true },
	{ "REMOVEXATTR without a name", VIO_FUSE_REMOVEXATTR, 'F', "", "", 0, EINVAL, true },
	/* ioctl: what it moves is said, not found out by its number */
	{ "IOCTL that wants to look around", VIO_FUSE_IOCTL, 'F', "H" "0200000001000000" Z8 Z8, "", 16, ENOTTY, false },
	{ "IOCTL of more than there is", VIO_FUSE_IOCTL, 'F', "H" "0000000001000000" Z8 "0400000000000000", "abc", 16, EINVAL, true },
	{ "IOCTL of more than there is room for", VIO_FUSE_IOCTL, 'F',
		"H" "0000000001000000" Z8 "0000000001000000", "", 16, EINVAL, true },
	{ "IOCTL nobody knows", VIO_FUSE_IOCTL, 'F', "H" "00000000ffffffff" "M" Z8, "", 16, ENOTTY, false },
	/* forgetting */
	{ "FORGET of a node nobody knows", VIO_FUSE_FORGET, 'X', U1, "", 0, SILENT, false },
	{ "FORGET of the root, as often as can be", VIO_FUSE_FORGET, 'R', "M", "", 0, SILENT, false },
	{ "BATCH_FORGET of more than there are", VIO_FUSE_BATCH_FORGET, '0', "0200000000000000" "X" U1, "", 0, SILENT, true },
	{ "BATCH_FORGET of the largest number", VIO_FUSE_BATCH_FORGET, '0', "ffffffff00000000" "X" U1, "", 0, SILENT, true },
	{ "BATCH_FORGET twice of the same nobody", VIO_FUSE_BATCH_FORGET, '0', "0200000000000000" "X" "M" "X" "M",
		"", 0, SILENT, false },
	{ "INTERRUPT of nobody", VIO_FUSE_INTERRUPT, '0', "X", "", 8, EAGAIN, false },
	/* extensions */
	{ "extensions of more than the message", VIO_FUSE_MKDIR, 'D', "ed01000000000000", "x$", 128, EINVAL, true, 100 },
	{ "an extension shorter than its header", VIO_FUSE_MKDIR, 'D', "ed01000000000000", "x$\7$$$\1$$$", 128, EINVAL, true, 1 },
	{ "an extension longer than the message", VIO_FUSE_MKDIR, 'D', "ed01000000000000", "x$\11$$$\1$$$", 128, EINVAL, true, 1 },
	{ "groups of more than there are", VIO_FUSE_MKDIR, 'D', "ed01000000000000", "x$\20$$$\40$$$\2$$$\1$$$", 128, EINVAL, true, 2 },
	{ "33 groups", VIO_FUSE_MKDIR, 'D', "ed01000000000000", "x$\20$$$\40$$$\41$$$\1$$$", 128, EINVAL, true, 2 },
	{ "a context longer than it is", VIO_FUSE_MKDIR, 'D', "ed01000000000000",
		"x$\30$$$\1$$$\144$$$$$$$security.x$", 128, EINVAL, true, 3 },
	/* operations there are not */
	{ "opcode 0", 0, 'R', "", "", 100, ENOSYS, true },
	{ "opcode 7", 7, 'R', "", "", 100, ENOSYS, true },
	{ "opcode 999", 999, 'R', "", "", 100, ENOSYS, true },
	{ "the largest opcode", UINT32_MAX, 'R', "", "", 100, ENOSYS, true },
	{ "SETUPMAPPING without a window", VIO_FUSE_SETUPMAPPING, 'F', "H" Z8 Z8 Z8 Z8, "", 100, ENOSYS, false },
};

/* A session with a folder, a file in the root, and both open. */
struct scene { uint64_t file, folder, handle, dir; };

static struct scene set_scene(struct fs_rig *b)
{
	struct created f;
	struct vio_fuse_open_out dir;
	struct scene s;

	fs_init(b);
	assert_int_equal(fs_create(b, 1, "file", &f), 0);
	s.file = vio_le64_get(f.entry.nodeid);
	s.handle = vio_le64_get(f.open.fh);
	s.folder = fs_mkdir(b, 1, "folder");
	assert_int_equal(fs_do(b, VIO_FUSE_OPENDIR, s.folder, &(struct vio_fuse_open_in){ .flags = vio_le32_of(0) }, 8, &dir, sizeof dir,
	    NULL), 0);
	s.dir = vio_le64_get(dir.fh);
	return s;
}

static uint64_t number(const struct scene *s, char letter)
{
	switch (letter) {
	case 'F': return s->file;
	case 'D': return s->folder;
	case 'H': return s->handle;
	case 'G': return s->dir;
	case 'R': return 1;
	case 'M': return UINT64_MAX;
	case 'X': return UINT64_C(0x123456789);
	default: return 0;
	}
}

static size_t message(const struct scene *s, const struct bad *row, unsigned char *to)
{
	size_t n = 0;

	for (const char *c = row->args; *c;) {
		unsigned v;
		if (strchr("FDHGXM", *c)) {
			vio_le64 word = vio_le64_of(number(s, *c++));
			memcpy(to + n, &word, 8);
			n += 8;
		} else {
			assert_int_equal(sscanf(c, "%2x", &v), 1);
			to[n++] = (unsigned char)v;
			c += 2;
		}
	}
	for (const char *c = row->tail; *c; c++)
		to[n++] = *c == '$' ? 0 : (unsigned char)*c;
	return n;
}

/* The other queue, and this one. */
static void others_are_served(struct fs_rig *b, const char *what)
{
	struct vio_fuse_getattr_in in = { .fh = vio_le64_of(0) };
	uint32_t used;

	rig_rewind(b->g);
	for (uint16_t q = 1; q <= 2; q++) {
		struct ask a = fs_ask(b, VIO_FUSE_GETATTR, 1, &in, sizeof in, 104);
		if (fs_run(b, q, &a, 0, 0, &used) != 0)
			fail_msg("%s: then GETATTR in queue %u fails", what, q);
	}
}

static void one_row(struct fs_rig *b, const struct scene *s, const struct bad *row)
{
	static unsigned char args[8192];
	uint64_t refused = rig_refused(b->g, 1);
	uint32_t used;
	size_t n = message(s, row, args);

	rig_rewind(b->g);
	struct ask a = fs_ask(b, row->opcode, number(s, row->node), args, n, row->room);
	((struct vio_fuse_in_header *)(void *)a.r)->total_extlen = vio_le16_of((uint16_t)row->extensions);
	if (row->error == SILENT)
		a.w_len = 0;
	fs_add(b, 1, &a, 0, 0);
	rig_kick(b->g, 1);
	void *back = rig_get(b->g, 1, &used);
	if (back != (row->error == SILENT ? a.r : a.w) || b->g->q[1].broken)
		fail_msg("%s: did not come back", row->what);
	int error = row->error == SILENT ? SILENT : fs_judge(&a, used);
	if (row->error != ANY && error != row->error)
		fail_msg("%s: error %d, not %d", row->what, error, row->error);
	if (rig_refused(b->g, 1) - refused != row->refused)
		fail_msg("%s: counted %d times", row->what, (int)(rig_refused(b->g, 1) - refused));
	others_are_served(b, row->what);
}

static void each_row_is_answered(void **state)
{
	(void)state;
	for (unsigned shape = 0; shape < SHAPES; shape += 5) {		/* whole and split; packed, in single bytes */
		struct fs_rig b = fs_new();
		fs_start_shape(&b, shape);
		for (unsigned round = 0; round < 2; round++) {
			struct scene s = set_scene(&b);
			for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
				one_row(&b, &s, &bad[i]);
			rig_reset(b.g);
			rig_start(b.g, 3, fs_shape(shape));
			fs_init(&b);
			struct vio_fuse_entry_out e;
			assert_int_equal(fs_lookup(&b, 1, "x", &e), 0);	/* a negative entry: nothing was made */
			assert_int_equal(vio_le64_get(e.nodeid), 0);
			const char *made[] = { "file", "folder" };
			for (unsigned i = 0; i < 2; i++)
				assert_int_equal(fs_do(&b, i ? VIO_FUSE_RMDIR : VIO_FUSE_UNLINK, 1, made[i], strlen(made[i]) + 1, NULL, 0, NULL), 0);
		}
		fs_close(&b);
	}
}

/* ---- Of every operation ---- */

struct op { uint32_t opcode; unsigned args, room; };
static const struct op ops[] = {
	{ VIO_FUSE_LOOKUP, 0, 128 }, { VIO_FUSE_GETATTR, 16, 104 }, { VIO_FUSE_SETATTR, 88, 104 }, { VIO_FUSE_READLINK, 0, 0 },
	{ VIO_FUSE_SYMLINK, 0, 128 }, { VIO_FUSE_MKNOD, 16, 128 }, { VIO_FUSE_MKDIR, 8, 128 }, { VIO_FUSE_UNLINK, 0, 0 },
	{ VIO_FUSE_RMDIR, 0, 0 }, { VIO_FUSE_RENAME, 8, 0 }, { VIO_FUSE_LINK, 8, 128 }, { VIO_FUSE_OPEN, 8, 16 }, { VIO_FUSE_READ, 40, 0 },
	{ VIO_FUSE_WRITE, 40, 8 }, { VIO_FUSE_STATFS, 0, 80 }, { VIO_FUSE_RELEASE, 24, 0 }, { VIO_FUSE_FSYNC, 16, 0 },
	{ VIO_FUSE_SETXATTR, 16, 0 }, { VIO_FUSE_GETXATTR, 8, 0 }, { VIO_FUSE_LISTXATTR, 8, 0 }, { VIO_FUSE_REMOVEXATTR, 0, 0 },
	{ VIO_FUSE_FLUSH, 24, 0 }, { VIO_FUSE_OPENDIR, 8, 16 }, { VIO_FUSE_READDIR, 40, 0 }, { VIO_FUSE_RELEASEDIR, 24, 0 },
	{ VIO_FUSE_FSYNCDIR, 16, 0 }, { VIO_FUSE_GETLK, 48, 24 }, { VIO_FUSE_SETLK, 48, 0 }, { VIO_FUSE_SETLKW, 48, 0 },
	{ VIO_FUSE_ACCESS, 8, 0 }, { VIO_FUSE_CREATE, 16, 144 }, { VIO_FUSE_IOCTL, 32, 16 }, { VIO_FUSE_FALLOCATE, 32, 0 },
	{ VIO_FUSE_READDIRPLUS, 40, 0 }, { VIO_FUSE_RENAME2, 16, 0 }, { VIO_FUSE_LSEEK, 24, 8 }, { VIO_FUSE_COPY_FILE_RANGE, 56, 8 },
	{ VIO_FUSE_SYNCFS, 8, 0 }, { VIO_FUSE_TMPFILE, 16, 144 }, { VIO_FUSE_STATX, 24, 288 },
};
enum { OPS = sizeof ops / sizeof *ops };
static const unsigned char zeroes[128];

static void refused_alone(struct fs_rig *b, uint16_t queue, const struct ask *a, int error)
{
	uint64_t refused = rig_refused(b->g, queue);
	uint32_t used;

	assert_int_equal(fs_run(b, queue, a, 0, 0, &used), error);
	assert_int_equal(rig_refused(b->g, queue), refused + 1);
}

static void too_short_or_too_long(void **state)
{
	struct fs_rig b = fs_new();

	(void)state;
	fs_open_start(&b, BITS(VIO_F_VERSION_1));
	set_scene(&b);
	for (unsigned i = 0; i < OPS; i++) {
		for (unsigned n = 0; n < ops[i].args; n++) {		/* every byte that could be missing */
			rig_rewind(b.g);
			struct ask a = fs_ask(&b, ops[i].opcode, 1, zeroes, n, 300);
			refused_alone(&b, 1, &a, EINVAL);
		}
		for (unsigned n = 0; n < ops[i].room; n += 5) {		/* an answer that would not fit is not begun */
			rig_rewind(b.g);
			struct ask a = fs_ask(&b, ops[i].opcode, 1, zeroes, sizeof zeroes, n);
			refused_alone(&b, 1, &a, EINVAL);
		}
		static const uint32_t lengths[] = { 0, 1, 39, 40 + 128 + 1, 0x7fffffff, UINT32_MAX };
		for (unsigned k = 0; k < sizeof lengths / sizeof *lengths; k++) {
			rig_rewind(b.g);
			struct ask a = fs_ask(&b, ops[i].opcode, 1, zeroes, sizeof zeroes, 300);
			((struct vio_fuse_in_header *)(void *)a.r)->len = vio_le32_of(lengths[k]);
			refused_alone(&b, 1, &a, EINVAL);
		}
	}
	fs_close(&b);
}

/* Where there is no room for an error there is no answer; where there is no header there is nobody to answer. */
static void without_room(void **state)
{
	struct fs_rig b = fs_new();
	uint32_t used;

	(void)state;
	fs_open_start(&b, BITS(VIO_F_VERSION_1));
	set_scene(&b);
	for (unsigned i = 0; i < OPS; i++)
		for (size_t n = 0; n < OUT_HEADER; n += 5) {
			rig_rewind(b.g);
			struct ask a = fs_ask(&b, ops[i].opcode, 1, zeroes, sizeof zeroes, 0);
			a.w_len = n;
			fs_add(&b, 1, &a, 0, 0);
			rig_kick(b.g, 1);
			assert_non_null(rig_get(b.g, 1, &used));
			assert_int_equal(used, 0);
			assert_int_equal(a.w[0], FILL);
		}
	for (size_t n = 0; n < IN_HEADER; n += 3) {
		uint64_t refused = rig_refused(b.g, 1);
		rig_rewind(b.g);
		struct ask a = fs_ask(&b, VIO_FUSE_STATFS, 1, NULL, 0, 80);
		assert_true(rig_add(b.g, 1, n ? a.r : NULL, n, 0, a.w, a.w_len, 0));
		rig_kick(b.g, 1);
		assert_non_null(rig_get(b.g, 1, &used));
		assert_int_equal(used, 0);
		assert_int_equal(rig_refused(b.g, 1), refused + 1);
	}
	others_are_served(&b, "headers without an end");
	fs_close(&b);
}

static void out_of_place(void **state)
{
	struct fs_rig b = fs_new();

	(void)state;
	fs_open_start(&b, BITS(VIO_F_VERSION_1));
	for (unsigned i = 0; i < OPS; i++) {		/* nothing before INIT */
		rig_rewind(b.g);
		struct ask a = fs_ask(&b, ops[i].opcode, 1, zeroes, sizeof zeroes, 300);
		refused_alone(&b, 1, &a, EIO);
	}
	set_scene(&b);
	for (unsigned i = 0; i < OPS; i++) {		/* nothing that can wait in the queue that must not */
		rig_rewind(b.g);
		struct ask a = fs_ask(&b, ops[i].opcode, 1, zeroes, sizeof zeroes, 300);
		refused_alone(&b, HIPRIO, &a, EINVAL);
	}
	rig_rewind(b.g);
	struct ask init = fs_ask(&b, VIO_FUSE_INIT, 0, zeroes, 64, 64);
	refused_alone(&b, HIPRIO, &init, EINVAL);
	fs_close(&b);
}

/* Each is given back twice, and used afterwards. */
static void given_back_twice(void **state)
{
	struct fs_rig b = fs_new();
	unsigned char release[24] = { 0 };
	struct created f;
	size_t got;
	char c;

	(void)state;
	fs_open_start(&b, BITS(VIO_F_VERSION_1));
	fs_init(&b);
	assert_int_equal(fs_create(&b, 1, "f", &f), 0);
	memcpy(release, &f.open.fh, 8);
	uint64_t node = vio_le64_get(f.entry.nodeid);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(fs_do(&b, VIO_FUSE_RELEASE, node, release, sizeof release, NULL, 0, NULL), 0);
	assert_int_equal(fs_read(&b, &f, 0, &c, 1, &got), EBADF);
	for (unsigned i = 0; i < 3; i++)
		fs_tell(&b, HIPRIO, VIO_FUSE_FORGET, node, &(struct vio_fuse_forget_in){ vio_le64_of(1) }, 8);
	assert_int_equal(fs_do(&b, VIO_FUSE_GETATTR, node, zeroes, 16, NULL, 104, NULL), ESTALE);
	assert_int_equal(fs_count(&b).looked_up, 0);
	assert_int_equal(fs_lookup(&b, 1, "f", &f.entry), 0);
	assert_int_equal(fs_do(&b, VIO_FUSE_GETATTR, vio_le64_get(f.entry.nodeid), zeroes, 16, NULL, 104, NULL), 0);
	fs_close(&b);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(each_row_is_answered, "each malformed request is answered, others are served, and a reset heals"),
		T(too_short_or_too_long, "every operation with arguments, room or length that lie"),
		T(without_room, "no room for an answer, and no header"),
		T(out_of_place, "every operation before INIT, and in the high priority queue {fs-dev-3}"),
		T(given_back_twice, "nodes and handles given back twice"),
	};
	return vio_tests("fs_bad", tests, sizeof tests / sizeof *tests);
}
