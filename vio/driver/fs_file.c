/* The file system driver for firmware: one question, one answer.  All of it in vio_fs's own request, with the names it holds. */
#include <vio/driver/fs.h>
#include <vio/ring/freestanding.h>

static struct vio_fs_request *question(struct vio_fs *f, uint32_t opcode, uint64_t node, const void *args, uint32_t n,
    uint32_t answer)
{
	struct vio_fs_request *r = &f->own;

	r->opcode = opcode;
	r->node = node;
	if (n)
		memcpy(r->args, args, n);
	r->args_len = n;
	r->answer_len = answer;
	r->send = r->receive = NULL;
	r->send_len = r->receive_len = 0;
	return r;
}

/* One more name with its NUL.  False: it is none, or too long. */
static bool add_name(struct vio_fs *f, struct vio_fs_request *r, const char *name)
{
	uint32_t n = 0;

	while (name[n] && name[n] != '/' && n < 256)
		n++;
	if (n == 0 || n == 256 || name[n])
		return false;
	memcpy(f->names + r->send_len, name, n + 1);
	r->send = f->names;
	r->send_len += n + 1;
	return true;
}

/* Ask; the fixed answer, its answer_len bytes, to out. */
static int ask(struct vio_fs *f, struct vio_fs_request *r, void *out)
{
	int error = vio_fs_do(f, r);

	if (!error && out)
		memcpy(out, r->answer, r->answer_len);
	return error;
}

int vio_fs_lookup(struct vio_fs *f, uint64_t dir, const char *name, struct vio_fuse_entry_out *out)
{
	struct vio_fs_request *r = question(f, VIO_FUSE_LOOKUP, dir, NULL, 0, sizeof *out);
	return add_name(f, r, name) ? ask(f, r, out) : VIO_FUSE_EINVAL;
}

int vio_fs_getattr(struct vio_fs *f, uint64_t node, struct vio_fuse_attr *out)
{
	struct vio_fuse_getattr_in in = { .getattr_flags = vio_le32_of(0) };
	struct vio_fuse_attr_out answer;
	int error = ask(f, question(f, VIO_FUSE_GETATTR, node, &in, sizeof in, sizeof answer), &answer);

	if (!error)
		*out = answer.attr;
	return error;
}

static int open_as(struct vio_fs *f, uint32_t opcode, uint64_t node, uint32_t flags, struct vio_fs_file *out)
{
	struct vio_fuse_open_in in = { vio_le32_of(flags), vio_le32_of(0) };
	struct vio_fuse_open_out answer;
	int error = ask(f, question(f, opcode, node, &in, sizeof in, sizeof answer), &answer);

	if (!error)
		*out = (struct vio_fs_file){ node, vio_le64_get(answer.fh) };
	return error;
}

int vio_fs_open(struct vio_fs *f, uint64_t node, uint32_t flags, struct vio_fs_file *out)
{
	return open_as(f, VIO_FUSE_OPEN, node, flags, out);
}

int vio_fs_opendir(struct vio_fs *f, uint64_t node, struct vio_fs_file *out) { return open_as(f, VIO_FUSE_OPENDIR, node, 0, out); }

int vio_fs_create(struct vio_fs *f, uint64_t dir, const char *name, uint32_t mode, struct vio_fs_file *out)
{
	enum { READ_WRITE = 2 };
	struct vio_fuse_create_in in = { vio_le32_of(READ_WRITE), vio_le32_of(mode), vio_le32_of(0), vio_le32_of(0) };
	struct { struct vio_fuse_entry_out entry; struct vio_fuse_open_out open; } answer;
	struct vio_fs_request *r = question(f, VIO_FUSE_CREATE, dir, &in, sizeof in, sizeof answer);
	int error = add_name(f, r, name) ? ask(f, r, &answer) : VIO_FUSE_EINVAL;

	if (!error)
		*out = (struct vio_fs_file){ vio_le64_get(answer.entry.nodeid), vio_le64_get(answer.open.fh) };
	return error;
}

int vio_fs_mkdir(struct vio_fs *f, uint64_t dir, const char *name, uint32_t mode, uint64_t *node)
{
	struct vio_fuse_mkdir_in in = { vio_le32_of(mode), vio_le32_of(0) };
	struct vio_fuse_entry_out answer;
	struct vio_fs_request *r = question(f, VIO_FUSE_MKDIR, dir, &in, sizeof in, sizeof answer);
	int error = add_name(f, r, name) ? ask(f, r, &answer) : VIO_FUSE_EINVAL;

	if (!error)
		*node = vio_le64_get(answer.nodeid);
	return error;
}

int vio_fs_unlink(struct vio_fs *f, uint64_t dir, const char *name)
{
	struct vio_fs_request *r = question(f, VIO_FUSE_UNLINK, dir, NULL, 0, 0);
	return add_name(f, r, name) ? ask(f, r, NULL) : VIO_FUSE_EINVAL;
}

int vio_fs_rename(struct vio_fs *f, uint64_t dir, const char *name, uint64_t new_dir, const char *new_name)
{
	struct vio_fuse_rename_in in = { vio_le64_of(new_dir) };
	struct vio_fs_request *r = question(f, VIO_FUSE_RENAME, dir, &in, sizeof in, 0);
	return add_name(f, r, name) && add_name(f, r, new_name) ? ask(f, r, NULL) : VIO_FUSE_EINVAL;
}

static int read_as(struct vio_fs *f, uint32_t opcode, const struct vio_fs_file *file, uint64_t at, void *to, uint32_t n, uint32_t *got)
{
	struct vio_fuse_read_in in = { .fh = vio_le64_of(file->handle), .offset = vio_le64_of(at), .size = vio_le32_of(n) };
	struct vio_fs_request *r = question(f, opcode, file->node, &in, sizeof in, 0);

	r->receive = to;
	r->receive_len = n;
	int error = ask(f, r, NULL);
	*got = error ? 0 : r->got;
	return error;
}

int vio_fs_read(struct vio_fs *f, const struct vio_fs_file *file, uint64_t at, void *to, uint32_t n, uint32_t *got)
{
	return read_as(f, VIO_FUSE_READ, file, at, to, n, got);
}

int vio_fs_readdir(struct vio_fs *f, const struct vio_fs_file *dir, uint64_t at, void *to, uint32_t n, uint32_t *got)
{
	return read_as(f, VIO_FUSE_READDIR, dir, at, to, n, got);
}

int vio_fs_write(struct vio_fs *f, const struct vio_fs_file *file, uint64_t at, const void *from, uint32_t n, uint32_t *put)
{
	struct vio_fuse_write_in in = { .fh = vio_le64_of(file->handle), .offset = vio_le64_of(at), .size = vio_le32_of(n) };
	struct vio_fuse_write_out answer = { vio_le32_of(0) };
	struct vio_fs_request *r = question(f, VIO_FUSE_WRITE, file->node, &in, sizeof in, sizeof answer);

	r->send = from;
	r->send_len = n;
	int error = ask(f, r, &answer);
	*put = error ? 0 : vio_le32_get(answer.size);
	if (*put <= n)
		return error;
	*put = 0;
	return VIO_FS_E_WRONG;
}

int vio_fs_fsync(struct vio_fs *f, const struct vio_fs_file *file)
{
	struct vio_fuse_fsync_in in = { .fh = vio_le64_of(file->handle) };
	return ask(f, question(f, VIO_FUSE_FSYNC, file->node, &in, sizeof in, 0), NULL);
}

static int release_as(struct vio_fs *f, uint32_t opcode, const struct vio_fs_file *file)
{
	struct vio_fuse_release_in in = { .fh = vio_le64_of(file->handle) };
	return ask(f, question(f, opcode, file->node, &in, sizeof in, 0), NULL);
}

int vio_fs_release(struct vio_fs *f, const struct vio_fs_file *file) { return release_as(f, VIO_FUSE_RELEASE, file); }
int vio_fs_releasedir(struct vio_fs *f, const struct vio_fs_file *dir) { return release_as(f, VIO_FUSE_RELEASEDIR, dir); }

bool vio_fs_entry(const void *bytes, uint32_t n, uint32_t *at, struct vio_fs_dirent *out)
{
	struct vio_fuse_dirent d;
	const char *p = bytes;

	if (*at > n || n - *at < sizeof d)
		return false;
	memcpy(&d, p + *at, sizeof d);
	uint32_t len = vio_le32_get(d.namelen), left = n - *at - (uint32_t)sizeof d;
	if (len == 0 || len > 255 || len > left)
		return false;
	out->name = p + *at + sizeof d;
	for (uint32_t i = 0; i < len; i++)
		if (out->name[i] == 0 || out->name[i] == '/')
			return false;
	out->ino = vio_le64_get(d.ino);
	out->next = vio_le64_get(d.off);
	out->type = vio_le32_get(d.type);
	out->len = len;
	uint32_t whole = (len + 7) & ~UINT32_C(7);
	*at += (uint32_t)sizeof d + (whole < left ? whole : left);
	return true;
}
