/*
 * The file system device's files see each other here: fs.c serves queues, fs_ask.c reads what is asked, fs_tell.c
 * writes answers, fs_session.c begins and ends sessions and knows the config space.
 */
#ifndef VIO_DEVICE_FS_IMPL_H
#define VIO_DEVICE_FS_IMPL_H
#include <vio/device/fs.h>
#include <vio/ring/freestanding.h>
#include <vio/spec/fs.h>

enum {
	FS_BYTES_MAX = 16 << 20,	/* of one READ, WRITE or READDIR: 256 pages of the largest size there is */
	FS_WRITE_MAX = 1 << 20,		/* what INIT says */
	FS_PAGES_MAX = FS_WRITE_MAX / 4096,
	FS_FORGETS_MAX = 8192		/* of one BATCH_FORGET */
};

struct fs_queue {
	struct vio_tree_chan *chan;
	uint32_t moved;			/* bytes in this turn */
};

struct fs {
	struct vio_dev dev;
	struct vio_fs_config config;
	struct vio_tree *tree;
	uint64_t offers;		/* INIT's flags that we can do, as bits */
	/*
	 * What INIT settled, and the one word that the queues' threads share: FS_SESSION, the minor version, and the flags that
	 * change how a question reads.  0: there is no session.
	 */
	uint64_t session;
	struct fs_queue queue[VIO_DEV_QUEUES];
};
enum { FS_SESSION = 1 << 8, FS_SETXATTR_EXT = 1 << 9, FS_SECURITY_CTX = 1 << 10, FS_CREATE_GROUPS = 1 << 11, FS_MINOR = 0xff };

struct fs_req;
enum { FS_ASK = 0, FS_SERVED = 1 << 16 };

/* What there is to know of an operation; fs_ask.c has the table. */
struct fs_op {
	uint8_t tree;			/* enum vio_tree_op */
	uint8_t args;			/* bytes of the fixed part behind the header */
	uint16_t room;			/* bytes of a fixed answer behind the header */
	bool known;			/* FUSE has it */
	bool silent;			/* no answer */
	bool hiprio;			/* on queue 0, and only these */
	/*
	 * Judge the question and put it into r->t.  args are a copy of the fixed part, r->in what follows it.  FS_ASK: the tree is
	 * asked; FS_SERVED: all is done; a positive errno value: the answer; a negative one: the same, and the driver's mistake.
	 */
	int (*ask)(struct fs *s, struct fs_req *r, const void *args);
	void (*tell)(struct fs *s, struct fs_req *r);	/* the tree has done it; NULL: no more than a header */
};
extern const struct fs_op vio_fs_dev_ops[VIO_FUSE_OPCODES];

/* A request, in a slot of its queue. */
struct fs_req {
	struct vio_chain chain;		/* w stays at its beginning until the answer is written */
	struct vio_tree_req t;
	struct vio_devq *q;
	const struct fs_op *op;
	struct vio_cur in;		/* what follows the header and the fixed part */
	uint32_t extensions;		/* bytes of them at the end of in */
	uint32_t left;			/* BATCH_FORGET */
	bool stepping, stepped;
	uint64_t agreed;		/* INIT: the word-to-be */
	struct vio_fuse_init_out init;
	char name[VIO_TREE_NAME + 1], name2[VIO_TREE_NAME + 1], security_name[VIO_TREE_NAME + 1];
};
union fs_args {
	struct vio_fuse_getattr_in getattr;
	struct vio_fuse_setattr_in setattr;
	struct vio_fuse_init_in init;
	struct vio_fuse_copy_file_range_in copy;
};

static inline struct fs *fs_of(struct vio_dev *d) { return (struct fs *)d; }
static inline uint64_t fs_session(const struct fs *s) { return __atomic_load_n(&s->session, __ATOMIC_RELAXED); }
static inline struct vio_tree_chan *fs_chan(const struct fs_req *r) { return ((struct fs_queue *)r->q->priv)->chan; }

/* fs.c: what is answered with silence. */
int vio_fs_dev_forget(struct fs *s, struct fs_req *r, const void *args);
int vio_fs_dev_batch_forget(struct fs *s, struct fs_req *r, const void *args);

/* fs_tell.c: n bytes behind the header, for which there is room; or an error and nothing; or what the tree has answered. */
void vio_fs_dev_answer(struct fs_req *r, const void *bytes, uint32_t n);
void vio_fs_dev_error(struct fs_req *r, int error);
void vio_fs_dev_tell_entry(struct fs *s, struct fs_req *r);
void vio_fs_dev_tell_attr(struct fs *s, struct fs_req *r);
void vio_fs_dev_tell_open(struct fs *s, struct fs_req *r);
void vio_fs_dev_tell_create(struct fs *s, struct fs_req *r);
void vio_fs_dev_tell_bytes(struct fs *s, struct fs_req *r);
void vio_fs_dev_tell_size(struct fs *s, struct fs_req *r);
void vio_fs_dev_tell_xattr(struct fs *s, struct fs_req *r);
void vio_fs_dev_tell_dir(struct fs *s, struct fs_req *r);
void vio_fs_dev_tell_statfs(struct fs *s, struct fs_req *r);
void vio_fs_dev_tell_lock(struct fs *s, struct fs_req *r);
void vio_fs_dev_tell_offset(struct fs *s, struct fs_req *r);
void vio_fs_dev_tell_statx(struct fs *s, struct fs_req *r);
void vio_fs_dev_tell_ioctl(struct fs *s, struct fs_req *r);
void vio_fs_dev_emits(struct fs_req *r);		/* r->t.emit: directory entries become r's answer */

/* fs_session.c */
int vio_fs_dev_init(struct fs *s, struct fs_req *r, const void *args);
void vio_fs_dev_tell_init(struct fs *s, struct fs_req *r);
int vio_fs_dev_destroy(struct fs *s, struct fs_req *r, const void *args);
const char *vio_fs_dev_open(struct vio_dev *d, const void *options);
void vio_fs_dev_reset(struct vio_dev *d);
size_t vio_fs_dev_save(struct vio_dev *d, void *to, size_t room);
const char *vio_fs_dev_load(struct vio_dev *d, const void *from, size_t n);
const char *vio_fs_dev_stays(const struct vio_dev *d);
#endif
