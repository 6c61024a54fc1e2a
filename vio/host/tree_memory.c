/* A tree of files in memory: its channels, what is late or fails, its life. */
#include <vio/host/tree_memory_impl.h>
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static void perform(struct memory *m, struct vio_tree_req *r)
{
	unsigned locks = m->count.locks;
	int error = vio_tree_memory_ops[r->op](m, r);

	if (error >= 0)
		r->done(r, error);
	if (m->count.locks < locks)
		vio_tree_memory_retry(m);
}

static void submit(struct vio_tree_chan *c, struct vio_tree_req *r)
{
	struct memory *m = ((struct chan *)c)->m;
	unsigned n = ++m->count.requests;

	assert(r->op < VIO_TREE_OPS);
	m->last = *r;
	r->tree_priv = c;
	if (r->op == VIO_TREE_FORGET || r->op == VIO_TREE_END || r->op == VIO_TREE_RELEASE || r->op == VIO_TREE_RELEASEDIR) {
		perform(m, r);
	} else if (every(n, m->faults.fail_every)) {
		r->done(r, m->faults.error ? m->faults.error : EIO);
	} else if (every(n, m->faults.late_every)) {
		r->next = NULL;
		*m->late_end = r;
		m->late_end = &r->next;
	} else {
		perform(m, r);
	}
}

static bool take_out(struct vio_tree_req **list, const struct vio_tree_req *r)
{
	while (*list && *list != r)
		list = &(*list)->next;
	if (!*list)
		return false;
	*list = r->next;
	return true;
}

static void find_late_end(struct memory *m)
{
	for (m->late_end = &m->late; *m->late_end; m->late_end = &(*m->late_end)->next)
		;
}

static void cancel(struct vio_tree_chan *c, struct vio_tree_req *r)
{
	struct memory *m = ((struct chan *)c)->m;

	m->count.cancels++;
	if (!take_out(&m->waiting, r)) {
		if (!take_out(&m->late, r))
			return;
		find_late_end(m);
	}
	r->done(r, EINTR);
}

static bool interrupt(struct vio_tree_chan *c, uint64_t unique)
{
	struct memory *m = ((struct chan *)c)->m;
	struct vio_tree_req *lists[] = { m->waiting, m->late };

	for (unsigned i = 0; i < 2; i++)
		for (struct vio_tree_req *r = lists[i]; r; r = r->next)
			if (r->unique == unique) {
				cancel(c, r);
				return true;
			}
	return false;
}

static void chan_close(struct vio_tree_chan *c)
{
	((struct chan *)c)->m->count.channels--;
	free(c);
}

static const struct vio_tree_chan_ops chan_ops = {
	.submit = submit, .cancel = cancel, .interrupt = interrupt, .close = chan_close,
};

static struct vio_tree_chan *channel(struct vio_tree *t, unsigned queue)
{
	struct chan *c = calloc(1, sizeof *c);

	(void)queue;
	if (!c)
		return NULL;
	*c = (struct chan){ { &chan_ops }, (struct memory *)t };
	c->m->count.channels++;
	return &c->chan;
}

/* ---- Life ---- */

static void forget_all(struct vio_tree *t) { vio_tree_memory_end((struct memory *)t); }

static void tree_close(struct vio_tree *t)
{
	struct memory *m = (struct memory *)t;

	assert(!m->late && !m->waiting && m->count.channels == 0);
	vio_tree_memory_end(m);
	vio_tree_memory_empty(m);
	free(m);
}

static const struct vio_tree_ops ops = { .channel = channel, .forget_all = forget_all, .close = tree_close };

struct vio_tree *vio_tree_memory_open(void)
{
	struct memory *m = calloc(1, sizeof *m);

	if (!m)
		return NULL;
	m->tree = (struct vio_tree){
		.ops = &ops, .entry_valid = { 3, 500 }, .attr_valid = { 2, 250 }, .posix_locks = true, .flocks = true, .posix_acl = true,
		.submounts = true, .security_ctx = true, .create_groups = true, .allow_mmap = true, .kill_priv = true, .writeback = true,
		.readdirplus = true, .export_handles = true, .auto_inval = true,
	};
	m->next_handle = 100;
	m->late_end = &m->late;
	if (!vio_tree_memory_root(m)) {
		free(m);
		return NULL;
	}
	return &m->tree;
}

void vio_tree_memory_faults(struct vio_tree *t, const struct vio_tree_faults *f) { ((struct memory *)t)->faults = *f; }

unsigned vio_tree_memory_held(const struct vio_tree *t)
{
	const struct memory *m = (const struct memory *)t;
	unsigned n = 0;

	for (const struct vio_tree_req *r = m->late; r; r = r->next)
		n++;
	for (const struct vio_tree_req *r = m->waiting; r; r = r->next)
		n++;
	return n;
}

void vio_tree_memory_release(struct vio_tree *t)
{
	struct memory *m = (struct memory *)t;
	struct vio_tree_req *r = m->late;

	m->late = NULL;
	m->late_end = &m->late;
	while (r) {
		struct vio_tree_req *next = r->next;
		perform(m, r);
		r = next;
	}
}

struct vio_tree_memory_count vio_tree_memory_count(const struct vio_tree *t)
{
	const struct memory *m = (const struct memory *)t;
	struct vio_tree_memory_count c = m->count;

	c.files = m->file_count;
	for (const struct file *f = m->files; f; f = f->next)
		c.looked_up += f->lookups != 0;
	return c;
}

const struct vio_tree_req *vio_tree_memory_last(const struct vio_tree *t) { return &((const struct memory *)t)->last; }
