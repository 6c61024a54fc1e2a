/*
 * The session: what INIT agrees on, and how it ends; the config space (virtio 1.4, 5.11.4, 5.11.5).
 *
 * One INIT serves all queues.  Another one ends the session and begins a new one (5.11.6.1), as DESTROY and a reset end it:
 * the tree then forgets every node but the root.
 */
#include <vio/device/fs_impl.h>

#define BIT(name) (UINT64_C(1) << VIO_FUSE_##name)

/* What can be had of INIT's flags. */
static uint64_t offers(const struct vio_tree *tree)
{
	const struct { uint64_t bits; bool has; } rows[] = {
		{ BIT(ASYNC_READ) | BIT(ATOMIC_O_TRUNC) | BIT(BIG_WRITES) | BIT(HAS_IOCTL_DIR) | BIT(ASYNC_DIO) | BIT(PARALLEL_DIROPS) |
		  BIT(MAX_PAGES) | BIT(CACHE_SYMLINKS) | BIT(SETXATTR_EXT) | BIT(INIT_EXT), true },
		{ BIT(POSIX_LOCKS), tree->posix_locks },
		{ BIT(FLOCK_LOCKS), tree->flocks },
		{ BIT(POSIX_ACL) | BIT(DONT_MASK), tree->posix_acl },
		{ BIT(EXPORT_SUPPORT), tree->export_handles },
		{ BIT(AUTO_INVAL_DATA), tree->auto_inval },
		{ BIT(DO_READDIRPLUS), tree->readdirplus },
		{ BIT(READDIRPLUS_AUTO), tree->readdirplus && !tree->readdirplus_always },
		{ BIT(WRITEBACK_CACHE), tree->writeback },
		{ BIT(SUBMOUNTS), tree->submounts },
		{ BIT(HANDLE_KILLPRIV_V2), tree->kill_priv },
		{ BIT(SECURITY_CTX), tree->security_ctx },
		{ BIT(CREATE_SUPP_GROUP), tree->create_groups },
		{ BIT(DIRECT_IO_ALLOW_MMAP), tree->allow_mmap },
	};
	uint64_t all = 0;

	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++)
		if (rows[i].has)
			all |= rows[i].bits;
	return all;
}

static uint32_t tree_flags(uint64_t agreed)
{
	return (agreed & BIT(WRITEBACK_CACHE) ? VIO_TREE_S_WRITEBACK : 0) | (agreed & BIT(POSIX_ACL) ? VIO_TREE_S_POSIX_ACL : 0) |
	    (agreed & BIT(DONT_MASK) ? VIO_TREE_S_DONT_MASK : 0) | (agreed & BIT(SUBMOUNTS) ? VIO_TREE_S_SUBMOUNTS : 0) |
	    (agreed & BIT(HANDLE_KILLPRIV_V2) ? VIO_TREE_S_KILL_PRIV : 0);
}

static uint64_t session_word(uint64_t agreed, uint32_t minor)
{
	return FS_SESSION | minor | (agreed & BIT(SETXATTR_EXT) ? FS_SETXATTR_EXT : 0) |
	    (agreed & BIT(SECURITY_CTX) ? FS_SECURITY_CTX : 0) | (agreed & BIT(CREATE_SUPP_GROUP) ? FS_CREATE_GROUPS : 0);
}

/* What the driver can do, with flags2 where it says that there is one. */
static uint64_t driver_flags(struct fs_req *r, const struct vio_fuse_init_in *a)
{
	uint64_t flags = vio_le32_get(a->flags);
	vio_le32 flags2;

	if (flags & BIT(INIT_EXT) && vio_cur_get(&r->in, &flags2, sizeof flags2))
		return flags | (uint64_t)vio_le32_get(flags2) << 32;
	return flags & ~BIT(INIT_EXT);
}

int vio_fs_dev_init(struct fs *s, struct fs_req *r, const void *args)
{
	const struct vio_fuse_init_in *a = args;	/* as far as VIO_FUSE_INIT_IN_COMPAT */
	uint32_t major = vio_le32_get(a->major), minor = vio_le32_get(a->minor);

	r->init = (struct vio_fuse_init_out){ .major = vio_le32_of(VIO_FUSE_MAJOR), .minor = vio_le32_of(VIO_FUSE_MINOR) };
	if (major > VIO_FUSE_MAJOR) {		/* it will ask again, with our major version */
		vio_fs_dev_answer(r, &r->init, sizeof r->init);
		return FS_SERVED;
	}
	if (major < VIO_FUSE_MAJOR || minor < VIO_FUSE_MINOR_LEAST)
		return VIO_FUSE_EPROTO;
	if (minor > VIO_FUSE_MINOR)
		minor = VIO_FUSE_MINOR;
	uint64_t agreed = driver_flags(r, a) & s->offers;
	r->init.minor = vio_le32_of(minor);
	r->init.max_readahead = a->max_readahead;
	r->init.flags = vio_le32_of((uint32_t)agreed);
	r->init.flags2 = vio_le32_of((uint32_t)(agreed >> 32));
	r->init.max_background = vio_le16_of(UINT16_MAX);	/* the queues' sizes say how much */
	r->init.congestion_threshold = vio_le16_of(UINT16_MAX / 4 * 3);
	r->init.max_write = vio_le32_of(FS_WRITE_MAX);
	r->init.time_gran = vio_le32_of(1);
	r->init.max_pages = vio_le16_of(FS_PAGES_MAX);
	r->agreed = session_word(agreed, minor);
	r->t.flags = tree_flags(agreed);
	__atomic_store_n(&s->session, 0, __ATOMIC_RELAXED);
	return FS_ASK;
}

void vio_fs_dev_tell_init(struct fs *s, struct fs_req *r)
{
	__atomic_store_n(&s->session, r->agreed, __ATOMIC_RELAXED);
	vio_fs_dev_answer(r, &r->init, sizeof r->init);
}

int vio_fs_dev_destroy(struct fs *s, struct fs_req *r, const void *args)
{
	(void)r, (void)args;
	__atomic_store_n(&s->session, 0, __ATOMIC_RELAXED);
	return FS_ASK;
}

void vio_fs_dev_reset(struct vio_dev *d)
{
	struct fs *s = fs_of(d);

	s->session = 0;
	s->tree->ops->forget_all(s->tree);
}

/* Device-specific state: is there a session?  Its nodes and handles are this host's and can't be moved. */
size_t vio_fs_dev_save(struct vio_dev *d, void *to, size_t room)
{
	if (to && room)
		*(uint8_t *)to = fs_session(fs_of(d)) != 0;
	return 1;
}

static const char bound[] = "the file system was mounted when its state was saved, and files known by one host are not known by "
    "another: unmount it before";

const char *vio_fs_dev_stays(const struct vio_dev *d)
{
	return fs_session((const struct fs *)d) ? bound : NULL;
}

const char *vio_fs_dev_load(struct vio_dev *d, const void *from, size_t n)
{
	const uint8_t *session = from;

	(void)d;
	if (n != 1 || *session > 1)
		return "the saved state of the file system device is not one byte, 0 or 1: it was saved by another program";
	return *session ? bound : NULL;
}

/* ---- Options and config space ---- */

/* Bytes of the character at p as UTF-8 begins it, 0: it does not.  Neither overlong nor surrogate. */
static unsigned utf8(const unsigned char *p)
{
	if (p[0] < 0x80)
		return 1;
	unsigned n = p[0] >= 0xc2 && p[0] < 0xe0 ? 2 : p[0] >= 0xe0 && p[0] < 0xf0 ? 3 : p[0] >= 0xf0 && p[0] < 0xf5 ? 4 : 0;
	for (unsigned i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
	    (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

static const char *take_tag(struct fs *s, const char *tag)
{
	size_t n = 0;

	if (!tag || !*tag)
		return "a file system device needs a tag: give the name that the driver will mount it by";
	while (tag[n]) {
		unsigned part = utf8((const unsigned char *)tag + n);
		if (!part)
			return "the tag is not UTF-8";
		if (n + part > VIO_FS_TAG)
			return "the tag is longer than 36 bytes";
		n += part;
	}
	memcpy(s->config.tag, tag, n);
	return NULL;
}

const char *vio_fs_dev_open(struct vio_dev *d, const void *options)
{
	const struct vio_fs_options *o = options;
	struct fs *s = fs_of(d);

	if (o->request_queues < 1 || o->request_queues > VIO_DEV_QUEUES - 1)
		return "a file system device has 1 to 63 request queues";
	if (o->queue_size > VIO_RING_SIZE_MAX)
		return "a queue has at most 32768 entries";
	const char *why = take_tag(s, o->tag);
	if (why)
		return why;
	s->config.num_request_queues = vio_le32_of(o->request_queues);
	s->tree = o->tree;
	s->offers = offers(o->tree);
	d->queues = (uint16_t)(o->request_queues + 1);
	d->queue_size_max = o->queue_size ? o->queue_size : 1024;
	d->chain_max = FS_PAGES_MAX + 8;	/* the headers and arguments of the largest READ */
	d->config = (uint8_t *)&s->config;
	return NULL;
}
