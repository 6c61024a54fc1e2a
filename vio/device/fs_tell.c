/*
 * Answers: a fuse_out_header and what belongs behind it.  used.len is what was written without a gap (2.7.8.2); what a failed
 * READ has left in the driver's buffer counts as nothing.
 */
#include <vio/device/fs_impl.h>

static struct vio_fuse_out_header header(const struct fs_req *r, uint32_t n, int error)
{
	return (struct vio_fuse_out_header){
		vio_le32_of((uint32_t)sizeof(struct vio_fuse_out_header) + n), vio_le32_of(-(uint32_t)error), vio_le64_of(r->t.unique)
	};
}

void vio_fs_dev_answer(struct fs_req *r, const void *bytes, uint32_t n)
{
	struct vio_fuse_out_header h = header(r, n, 0);

	vio_cur_put(&r->chain.w, &h, sizeof h);
	if (n)
		vio_cur_put(&r->chain.w, bytes, n);
	vio_dev_push(r->q, &r->chain);
}

/* No room for a header: then the chain comes back with length 0, which says as much. */
void vio_fs_dev_error(struct fs_req *r, int error)
{
	struct vio_fuse_out_header h = header(r, 0, error > 0 && error < 512 ? error : VIO_FUSE_EIO);

	vio_cur_put(&r->chain.w, &h, sizeof h);
	vio_dev_push(r->q, &r->chain);
}

/* ---- The tree's answers, in FUSE's layout ---- */

static void fill_attr(struct vio_fuse_attr *to, const struct vio_tree_attr *a)
{
	*to = (struct vio_fuse_attr){
		.ino = vio_le64_of(a->ino), .size = vio_le64_of(a->size), .blocks = vio_le64_of(a->blocks),
		.atime = vio_le64_of((uint64_t)a->atime.s), .mtime = vio_le64_of((uint64_t)a->mtime.s),
		.ctime = vio_le64_of((uint64_t)a->ctime.s), .atimensec = vio_le32_of(a->atime.ns),
		.mtimensec = vio_le32_of(a->mtime.ns), .ctimensec = vio_le32_of(a->ctime.ns), .mode = vio_le32_of(a->mode),
		.nlink = vio_le32_of(a->nlink), .uid = vio_le32_of(a->uid), .gid = vio_le32_of(a->gid), .rdev = vio_le32_of(a->rdev),
		.blksize = vio_le32_of(a->blksize), .flags = vio_le32_of(a->submount ? VIO_FUSE_ATTR_SUBMOUNT : 0),
	};
}

static void fill_entry(struct vio_fuse_entry_out *to, const struct vio_tree *tree, const struct vio_tree_entry *e)
{
	to->nodeid = vio_le64_of(e->node);
	to->generation = vio_le64_of(e->generation);
	to->entry_valid = vio_le64_of(tree->entry_valid.s);
	to->attr_valid = vio_le64_of(tree->attr_valid.s);
	to->entry_valid_nsec = vio_le32_of(tree->entry_valid.ns);
	to->attr_valid_nsec = vio_le32_of(tree->attr_valid.ns);
	if (e->node)
		fill_attr(&to->attr, &e->attr);
	else
		memset(&to->attr, 0, sizeof to->attr);
}

void vio_fs_dev_tell_entry(struct fs *s, struct fs_req *r)
{
	struct vio_fuse_entry_out out;

	fill_entry(&out, s->tree, &r->t.entry);
	vio_fs_dev_answer(r, &out, sizeof out);
}

void vio_fs_dev_tell_attr(struct fs *s, struct fs_req *r)
{
	struct vio_fuse_attr_out out = {
		.attr_valid = vio_le64_of(s->tree->attr_valid.s), .attr_valid_nsec = vio_le32_of(s->tree->attr_valid.ns),
	};

	fill_attr(&out.attr, &r->t.entry.attr);
	vio_fs_dev_answer(r, &out, sizeof out);
}

static struct vio_fuse_open_out open_out(const struct fs_req *r)
{
	return (struct vio_fuse_open_out){ .fh = vio_le64_of(r->t.new_handle), .open_flags = vio_le32_of(r->t.open_flags) };
}

void vio_fs_dev_tell_open(struct fs *s, struct fs_req *r)
{
	struct vio_fuse_open_out out = open_out(r);

	(void)s;
	vio_fs_dev_answer(r, &out, sizeof out);
}

void vio_fs_dev_tell_create(struct fs *s, struct fs_req *r)
{
	struct { struct vio_fuse_entry_out entry; struct vio_fuse_open_out open; } out;

	fill_entry(&out.entry, s->tree, &r->t.entry);
	out.open = open_out(r);
	vio_fs_dev_answer(r, &out, sizeof out);
}

/* n bytes stand behind the header already. */
static void tell_in_place(struct fs_req *r, uint64_t n)
{
	struct vio_fuse_out_header h = header(r, (uint32_t)n, 0);

	vio_cur_put(&r->chain.w, &h, sizeof h);
	r->chain.w.done = sizeof h + n;
	vio_dev_push(r->q, &r->chain);
}

void vio_fs_dev_tell_bytes(struct fs *s, struct fs_req *r)
{
	(void)s;
	tell_in_place(r, r->t.result);
}

void vio_fs_dev_tell_dir(struct fs *s, struct fs_req *r)
{
	(void)s;
	tell_in_place(r, r->t.bytes.done);
}

void vio_fs_dev_tell_size(struct fs *s, struct fs_req *r)
{
	struct vio_fuse_write_out out = { .size = vio_le32_of((uint32_t)r->t.result) };

	(void)s;
	vio_fs_dev_answer(r, &out, sizeof out);
}

/* Either the bytes or, to who asked for none, how many there are. */
void vio_fs_dev_tell_xattr(struct fs *s, struct fs_req *r)
{
	if (r->t.length)
		vio_fs_dev_tell_bytes(s, r);
	else
		vio_fs_dev_tell_size(s, r);
}

void vio_fs_dev_tell_statfs(struct fs *s, struct fs_req *r)
{
	const struct vio_tree_statfs *f = &r->t.statfs;
	struct vio_fuse_statfs_out out = {
		.blocks = vio_le64_of(f->blocks), .bfree = vio_le64_of(f->bfree), .bavail = vio_le64_of(f->bavail),
		.files = vio_le64_of(f->files), .ffree = vio_le64_of(f->ffree), .bsize = vio_le32_of(f->bsize),
		.namelen = vio_le32_of(f->namelen), .frsize = vio_le32_of(f->frsize),
	};

	(void)s;
	vio_fs_dev_answer(r, &out, sizeof out);
}

void vio_fs_dev_tell_lock(struct fs *s, struct fs_req *r)
{
	const struct vio_tree_lock *l = &r->t.lock;
	struct vio_fuse_lk_out out = { { vio_le64_of(l->start), vio_le64_of(l->end), vio_le32_of(l->type), vio_le32_of(l->pid) } };

	(void)s;
	vio_fs_dev_answer(r, &out, sizeof out);
}

void vio_fs_dev_tell_offset(struct fs *s, struct fs_req *r)
{
	struct vio_fuse_lseek_out out = { vio_le64_of(r->t.result) };

	(void)s;
	vio_fs_dev_answer(r, &out, sizeof out);
}

static struct vio_fuse_sx_time sx_time(struct vio_tree_time t)
{
	return (struct vio_fuse_sx_time){ vio_le64_of((uint64_t)t.s), vio_le32_of(t.ns), vio_le32_of(0) };
}

void vio_fs_dev_tell_statx(struct fs *s, struct fs_req *r)
{
	const struct vio_tree_attr *a = &r->t.entry.attr;
	struct vio_fuse_statx_out out = {
		.attr_valid = vio_le64_of(s->tree->attr_valid.s), .attr_valid_nsec = vio_le32_of(s->tree->attr_valid.ns),
		.stat = {
			.mask = vio_le32_of(VIO_STATX_BASIC | (a->has_btime ? VIO_STATX_BTIME : 0)),
			.blksize = vio_le32_of(a->blksize), .nlink = vio_le32_of(a->nlink), .uid = vio_le32_of(a->uid),
			.gid = vio_le32_of(a->gid), .mode = vio_le16_of((uint16_t)a->mode), .ino = vio_le64_of(a->ino),
			.size = vio_le64_of(a->size), .blocks = vio_le64_of(a->blocks), .atime = sx_time(a->atime),
			.ctime = sx_time(a->ctime), .mtime = sx_time(a->mtime),
			.rdev_major = vio_le32_of(a->rdev >> 8 & 0xfff),
			.rdev_minor = vio_le32_of((a->rdev & 0xff) | (a->rdev >> 12 & 0xfff00)),
		},
	};

	if (a->has_btime)
		out.stat.btime = sx_time(a->btime);
	vio_fs_dev_answer(r, &out, sizeof out);
}

/* The bytes stand behind a second header. */
void vio_fs_dev_tell_ioctl(struct fs *s, struct fs_req *r)
{
	struct vio_fuse_ioctl_out out = { .result = vio_le32_of(0) };
	struct vio_fuse_out_header h = header(r, (uint32_t)(sizeof out + r->t.length), 0);

	(void)s;
	vio_cur_put(&r->chain.w, &h, sizeof h);
	vio_cur_put(&r->chain.w, &out, sizeof out);
	r->chain.w.done = sizeof h + sizeof out + r->t.length;
	vio_dev_push(r->q, &r->chain);
}

/* ---- Directories ---- */

/* What the driver gets to see of an entry, all of it or nothing; padded with zeroes to 8 bytes. */
static bool emit(struct vio_tree_req *t, const char *name, size_t len, uint64_t ino, uint32_t type, uint64_t next,
    const struct vio_tree_entry *entry)
{
	struct fs_req *r = (struct fs_req *)((char *)t - offsetof(struct fs_req, t));
	struct vio_fuse_dirent d = { vio_le64_of(ino), vio_le64_of(next), vio_le32_of((uint32_t)len), vio_le32_of(type) };
	struct vio_tree_entry none = { .node = 0 };
	bool plus = t->op == VIO_TREE_READDIRPLUS;
	uint64_t bytes = (plus ? sizeof(struct vio_fuse_direntplus) : sizeof d) + (len + 7) / 8 * 8;

	if (bytes > t->bytes.left)
		return false;
	if (plus) {
		struct vio_fuse_entry_out e;
		fill_entry(&e, fs_of(r->q->dev)->tree, entry ? entry : &none);
		vio_cur_put(&t->bytes, &e, sizeof e);
	}
	vio_cur_put(&t->bytes, &d, sizeof d);
	vio_cur_put(&t->bytes, name, len);
	vio_cur_zero(&t->bytes, -len & 7);
	return true;
}

void vio_fs_dev_emits(struct fs_req *r) { r->t.emit = emit; }
