/* Trees of a Linux host (vio/backend/tree.h): a folder and everything below it. */
#ifndef VIO_HOST_TREE_H
#define VIO_HOST_TREE_H
#include <vio/backend/tree.h>
#include <vio/host/loop.h>
#include <vio/host/sandbox.h>
#include <vio/host/why.h>
VIO_BEGIN_DECLS

/* ---- A folder of the host ---- */

enum vio_tree_cache {
	VIO_TREE_CACHE_AUTO,	/* names and attributes hold for a second, contents while the file has not changed */
	VIO_TREE_CACHE_NEVER,	/* nothing may be believed for any time */
	VIO_TREE_CACHE_ALWAYS	/* nobody but the guest changes the folder */
};
enum vio_tree_xattr {
	VIO_TREE_XATTR_ON,	/* user.*, security.capability and ACLs, as they are */
	VIO_TREE_XATTR_OFF,
	VIO_TREE_XATTR_MAP	/* all: those that are the host's own affair are kept as user.virtiofs.* */
};

/* guest to guest + count - 1 are host to host + count - 1.  No entries: all ids are the same on both sides. */
enum { VIO_TREE_IDS = 16 };
struct vio_tree_ids {
	struct { uint32_t guest, host, count; } map[VIO_TREE_IDS];
	unsigned entries;
	bool squash;			/* whoever asks is squash_to (host) */
	uint32_t squash_to;
};
/* "GUEST:HOST:COUNT[,GUEST:HOST:COUNT...]".  False: why has a sentence. */
bool vio_tree_ids_parse(struct vio_tree_ids *m, const char *text, char *why);

struct vio_tree_options {
	const char *path;		/* a folder */
	enum vio_tree_cache cache;
	enum vio_tree_xattr xattr;
	bool writeback;			/* the guest may cache writes */
	bool no_acl, no_locks, no_submounts, no_file_handles;
	bool read_only;
	bool devices;			/* the guest may make device nodes */
	struct vio_tree_ids uid, gid;
	/* Caps on what a guest can pin; 0: the preset, at most what the limit of open files allows. */
	uint32_t max_nodes;		/* files it knows: about 200 bytes each */
	uint32_t max_handles;		/* files it has open: a descriptor each */
	uint32_t max_descriptors;	/* of nodes; more nodes are found again when they are used */
	uint32_t max_lock_owners;	/* processes with POSIX locks, per file: a descriptor each */
	unsigned threads;		/* for what may wait */
	struct vio_loop *const *loops;	/* [queue % loop_count] is where that queue's channel lives; [0] is the home thread */
	unsigned loop_count;
	unsigned queues;		/* how many channels will be asked for */
};
enum { VIO_TREE_MAX_NODES = 4 << 20, VIO_TREE_MAX_HANDLES = 65536, VIO_TREE_MAX_DESCRIPTORS = 16384,
	VIO_TREE_MAX_LOCK_OWNERS = 4096, VIO_TREE_THREADS = 8 };

/*
 * Opens the folder and everything that confinement would forbid later.  Without the capabilities to create files as
 * somebody else, all is done as the calling user: unless maps or squash say otherwise, the guest's root is this user and
 * nobody else in the guest can create anything.  NULL: why has a sentence.
 */
struct vio_tree *vio_tree_host_open(const struct vio_tree_options *o, char *why);
/* For confinement: the calls a tree makes, and what this one needs beside them (folders, capabilities). */
extern const struct vio_sandbox_call vio_tree_host_calls[];
void vio_tree_host_grant(struct vio_tree *t, struct vio_sandbox_options *o);
/* What the host lets it do: "file handles, switching users", for --verbose. */
void vio_tree_host_say(const struct vio_tree *t, char *words, size_t room);

/* How much of what is capped there is now. */
struct vio_tree_figures { uint32_t nodes, descriptors, handles, lock_owners; };
void vio_tree_host_figures(struct vio_tree *t, struct vio_tree_figures *f);

static inline void vio_tree_close(struct vio_tree *t) { if (t) t->ops->close(t); }
VIO_END_DECLS
#endif
