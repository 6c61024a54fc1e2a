/*
 * Operations on open folders.
 *
 * A folder's entries are read ahead into a buffer of the handle.  The offset behind each entry is the file system's own, so
 * that a guest may go on anywhere; when it goes on where it stopped, the buffer still has what comes next.
 */
#include <vio/host/tree_host.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { BUFFER = 16384 };

struct vio_list {
	pthread_mutex_t lock;		/* held over getdents64: only a guest that reads one handle twice at once waits, for itself */
	size_t at, filled;		/* in the buffer */
	uint64_t next;			/* the offset at which the entry at "at" stands */
	char buffer[BUFFER] __attribute__((aligned(8)));
};

struct entry { uint64_t ino; int64_t off; uint16_t reclen; uint8_t type; char name[]; };	/* linux_dirent64 */

void vio_list_free(struct vio_list *l)
{
	if (!l)
		return;
	pthread_mutex_destroy(&l->lock);
	free(l);
}

int vio_tree_opendir(struct vio_host_tree *t, struct vio_tree_req *r, bool may_wait)
{
	int fd, error;
	struct vio_node *n = vio_node_use(t, r->node, may_wait, &fd, &error);

	if (!n)
		return error;
	struct vio_list *l = n->type == S_IFDIR ? malloc(sizeof *l) : NULL;
	int folder = n->type != S_IFDIR ? -ENOTDIR : !l ? -ENOMEM : vio_node_open(t, n, fd, O_RDONLY | O_DIRECTORY);
	error = folder < 0 ? -folder : vio_open_new(t, n, folder, O_RDONLY, true, &r->new_handle);
	struct vio_open *o = error ? NULL : vio_open_get(t, r->new_handle, r->node, true);
	if (o) {
		pthread_mutex_init(&l->lock, NULL);
		l->at = l->filled = 0;
		l->next = 0;
		o->list = l;
		vio_open_put(t, o);
	} else {
		free(l);
	}
	vio_node_done(t, n);
	r->open_flags = vio_open_answer(t, true);
	return error;
}

/* The next entry, or NULL with *error (0: the end). */
static struct entry *next_entry(int fd, struct vio_list *l, int *error)
{
	if (l->at == l->filled) {
		long n = syscall(SYS_getdents64, fd, l->buffer, (size_t)BUFFER);
		*error = n < 0 ? errno : 0;
		l->at = 0;
		l->filled = n < 0 ? 0 : (size_t)n;
		if (n <= 0)
			return NULL;
	}
	return (struct entry *)(void *)(l->buffer + l->at);
}

static bool is_dots(const char *name) { return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2])); }

/*
 * Tells one entry.  False: it did not fit.  A file that has vanished meanwhile, or may not be seen, is told without being
 * looked up: node 0, so that the guest asks itself if it wants to know.
 */
static bool tell(struct vio_host_tree *t, struct vio_tree_req *r, struct vio_node *n, int fd, const struct entry *e)
{
	struct vio_tree_entry entry = { 0 };
	uint64_t ino = n->id == VIO_TREE_ROOT && is_dots(e->name) ? n->ino : e->ino;	/* what is above is nobody's business */
	size_t len = strlen(e->name);

	if (r->op == VIO_TREE_READDIR || is_dots(e->name))
		return r->emit(r, e->name, len, ino, e->type, (uint64_t)e->off, NULL);
	if (vio_tree_look(t, n, fd, e->name, true, vio_node_maybe(t, n, e->ino), &entry))
		memset(&entry, 0, sizeof entry);
	if (r->emit(r, e->name, len, ino, e->type, (uint64_t)e->off, &entry))
		return true;
	if (entry.node)
		vio_node_forget(t, entry.node, 1);
	return false;
}

static int read_folder(struct vio_host_tree *t, struct vio_tree_req *r, struct vio_node *n, int fd, struct vio_open *o)
{
	struct vio_list *l = o->list;
	struct entry *e;
	int error = 0;

	if (r->offset != l->next || r->offset == 0) {	/* from the start: what is there now */
		if (lseek(o->fd, (off_t)r->offset, SEEK_SET) < 0)
			return errno;
		l->at = l->filled = 0;
		l->next = r->offset;
	}
	while ((e = next_entry(o->fd, l, &error)) && tell(t, r, n, fd, e)) {
		l->at += e->reclen;
		l->next = (uint64_t)e->off;
	}
	return error;
}

int vio_tree_readdir(struct vio_host_tree *t, struct vio_tree_req *r, bool may_wait)
{
	struct vio_open *o = vio_open_get(t, r->handle, r->node, true);
	int fd, error = EBADF;

	(void)may_wait;
	if (!o)
		return error;
	struct vio_node *n = vio_node_use(t, r->node, true, &fd, &error);
	if (n) {
		pthread_mutex_lock(&o->list->lock);
		error = read_folder(t, r, n, fd, o);
		pthread_mutex_unlock(&o->list->lock);
		vio_node_done(t, n);
	}
	vio_open_put(t, o);
	return error;
}
