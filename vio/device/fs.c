/*
 * File system device (virtio 1.4, section 5.11): FUSE, served from guest memory over a tree of files.
 *
 *   device-readable   fuse_in_header, the operation's arguments, names, bytes
 *   device-writable   fuse_out_header, the operation's answer, bytes
 *
 *     pop -> header -> table of operations: ask -> tree -> done -> tell -> push
 *
 * A driver may cut these bytes into buffers as it likes (2.7.4.1), so everything goes by cursors.  What a driver says is
 * copied, then judged, then put to the tree; what is read and written of files is guest memory itself.  Queue 0 takes what
 * must not wait behind anything (5.11.6.2): FORGET, BATCH_FORGET and INTERRUPT, and only these.
 *
 * Queues may run in threads of their own.  They share the tree, which locks, and one word: what INIT settled.
 */
#include <vio/device/fs_impl.h>

enum {
	BURST = 8,			/* chains popped and prefetched before the first is served */
	TURN_BYTES = 1 << 20		/* a queue that has moved so much in a turn lets others have theirs */
};

/* ---- The tree has answered ---- */

static void done(struct vio_tree_req *t, int error)
{
	struct fs_req *r = (struct fs_req *)((char *)t - offsetof(struct fs_req, t));

	if (error)
		vio_fs_dev_error(r, error);
	else
		r->op->tell(fs_of(r->q->dev), r);
}

/* ---- Forgetting: never answered, never refused by the tree ---- */

static void forget_next(struct fs_req *r);

static void forgotten(struct vio_tree_req *t, int error)
{
	struct fs_req *r = (struct fs_req *)((char *)t - offsetof(struct fs_req, t));

	(void)error;
	r->stepped = true;
	if (!r->stepping)
		forget_next(r);
}

/* One after the other, without a stack frame for each. */
static void forget_next(struct fs_req *r)
{
	struct vio_tree_chan *chan = fs_chan(r);

	while (r->left) {
		struct vio_fuse_forget_one one;
		r->left--;
		vio_cur_get(&r->in, &one, sizeof one);
		r->t.node = vio_le64_get(one.nodeid);
		r->t.count = vio_le64_get(one.nlookup);
		r->stepping = true;
		r->stepped = false;
		chan->ops->submit(chan, &r->t);
		r->stepping = false;
		if (!r->stepped)
			return;		/* it goes on when the tree is done */
	}
	vio_dev_push(r->q, &r->chain);
}

int vio_fs_dev_forget(struct fs *s, struct fs_req *r, const void *args)
{
	const struct vio_fuse_forget_in *a = args;

	(void)s;
	r->left = 0;
	r->stepping = false;
	r->t.count = vio_le64_get(a->nlookup);
	r->t.done = forgotten;
	return FS_ASK;
}

int vio_fs_dev_batch_forget(struct fs *s, struct fs_req *r, const void *args)
{
	const struct vio_fuse_batch_forget_in *a = args;

	(void)s;
	r->left = vio_le32_get(a->count);
	if (r->left > FS_FORGETS_MAX || r->left > r->in.left / sizeof(struct vio_fuse_forget_one))
		return -VIO_FUSE_EINVAL;
	r->t.done = forgotten;
	forget_next(r);
	return FS_SERVED;
}

/* ---- Requests ---- */

/* Loaded word by word, each once: the driver may be writing there. */
struct words { uint64_t word[5]; } __attribute__((packed, may_alias));
VIO_STATIC_ASSERT(sizeof(struct words) == sizeof(struct vio_fuse_in_header), "a header in words");

static void get_header(struct fs_req *r, struct vio_fuse_in_header *h)
{
	r->in = r->chain.r;
	if (r->in.seg->len >= sizeof *h) {
		const volatile struct words *from = r->in.seg->base;
		struct words to = { { from->word[0], from->word[1], from->word[2], from->word[3], from->word[4] } };
		memcpy(h, &to, sizeof to);
		vio_cur_skip(&r->in, sizeof *h);
	} else {
		vio_cur_get(&r->in, h, sizeof *h);
	}
}

/* A message is as long as its header says; what the driver has given beyond means nothing. */
static bool frame(struct fs_req *r, const struct vio_fuse_in_header *h)
{
	uint32_t len = vio_le32_get(h->len);

	if (len < sizeof *h || len - sizeof *h > r->in.left)
		return false;
	r->in.left = len - sizeof *h;
	r->extensions = vio_le16_get(h->total_extlen) * 8u;
	return r->extensions <= r->in.left;
}

/* A driver of the other byte order (5.11.6.1) is told in its own that it can't be served. */
static void tell_swapped(struct fs_req *r)
{
	struct vio_fuse_out_header h = {
		vio_le32_of(__builtin_bswap32(sizeof h)), vio_le32_of(__builtin_bswap32(-(uint32_t)VIO_FUSE_EPROTO)),
		vio_le64_of(r->t.unique)
	};

	vio_cur_put(&r->chain.w, &h, sizeof h);
	vio_dev_push(r->q, &r->chain);
}

/* Everything about a request that can be judged before its arguments are read. */
static int judge(const struct fs *s, struct fs_req *r, uint32_t opcode)
{
	bool hiprio = r->q->index == 0;

	if (opcode >= VIO_FUSE_OPCODES || !vio_fs_dev_ops[opcode].known)
		return -VIO_FUSE_ENOSYS;
	const struct fs_op *op = r->op = &vio_fs_dev_ops[opcode];
	if (hiprio && !op->hiprio)
		return -VIO_FUSE_EINVAL;
	if (!(fs_session(s) & FS_SESSION) && opcode != VIO_FUSE_INIT)
		return -VIO_FUSE_EIO;
	if (!op->ask)
		return VIO_FUSE_ENOSYS;
	if (r->in.left < op->args)
		return -VIO_FUSE_EINVAL;
	if (!op->silent && r->chain.w.left < sizeof(struct vio_fuse_out_header) + op->room)
		return -VIO_FUSE_EINVAL;
	return FS_ASK;
}

/* The question is asked, or answered at once. */
static int ask(struct fs *s, struct fs_req *r, const struct vio_fuse_in_header *h)
{
	union fs_args args;
	int verdict = frame(r, h) ? judge(s, r, vio_le32_get(h->opcode)) : -VIO_FUSE_EINVAL;

	if (verdict != FS_ASK)
		return verdict;
	r->t.op = (enum vio_tree_op)r->op->tree;
	r->t.done = done;
	r->t.node = vio_le64_get(h->nodeid);
	r->t.uid = vio_le32_get(h->uid);
	r->t.gid = vio_le32_get(h->gid);
	r->t.pid = vio_le32_get(h->pid);
	vio_cur_get(&r->in, &args, r->op->args);
	verdict = r->op->ask(s, r, &args);
	if (verdict == FS_ASK)
		fs_chan(r)->ops->submit(fs_chan(r), &r->t);
	return verdict;
}

static void serve(struct fs *s, struct vio_devq *q, struct vio_chain *c)
{
	struct fs_req *r = (struct fs_req *)c;
	struct vio_fuse_in_header h;

	r->q = q;
	if (c->r.left < sizeof h) {		/* not even whom to answer */
		vio_dev_refused(q);
		vio_dev_push(q, c);
		return;
	}
	get_header(r, &h);
	r->t.unique = vio_le64_get(h.unique);
	int verdict = ask(s, r, &h);		/* from here on r may be gone */
	if (verdict == FS_ASK || verdict == FS_SERVED)
		return;
	if (verdict < 0)
		vio_dev_refused(q);
	if (vio_le32_get(h.opcode) == VIO_FUSE_INIT_SWAPPED)
		tell_swapped(r);
	else
		vio_fs_dev_error(r, verdict < 0 ? -verdict : verdict);
}

/* ---- Queues ---- */

/* Pop a burst so that the headers' cache lines are all on their way before the first is looked at (docs/performance.md). */
static unsigned pop_burst(struct fs_queue *fq, struct vio_devq *q, struct vio_chain *burst[BURST])
{
	unsigned n = 0;

	while (n < BURST) {
		struct vio_chain *c = vio_devq_pop(q);
		if (!c)
			break;
		__builtin_prefetch(c->seg[0].base);
		burst[n++] = c;
		uint64_t bytes = c->r.left + c->w.left;
		if (bytes < TURN_BYTES - fq->moved) {
			fq->moved += (uint32_t)bytes;
		} else {
			fq->moved = 0;
			vio_devq_yield(q);
		}
	}
	return n;
}

static void fs_queue(struct vio_dev *d, struct vio_devq *q)
{
	struct vio_chain *burst[BURST];
	unsigned n;

	do {
		n = pop_burst(q->priv, q, burst);
		for (unsigned i = 0; i < n; i++)
			serve(fs_of(d), q, burst[i]);
	} while (n == BURST || (n && q->why_empty == VIO_WAIT_SEGMENTS));	/* whose segments may be free now */
}

static void fs_turn_end(struct vio_dev *d, struct vio_devq *q)
{
	struct fs_queue *fq = q->priv;

	(void)d;
	fq->moved = 0;
	if (fq->chan->ops->flush)
		fq->chan->ops->flush(fq->chan);
}

static void fs_poll(struct vio_dev *d, struct vio_devq *q)
{
	struct fs_queue *fq = q->priv;

	(void)d;
	if (fq->chan->ops->poll)
		fq->chan->ops->poll(fq->chan);
}

static void fs_cancel(struct vio_dev *d, struct vio_devq *q)
{
	struct fs_queue *fq = q->priv;

	(void)d;
	for (uint16_t slot = 0; slot < q->place.size; slot++) {
		struct fs_req *r = (struct fs_req *)vio_devq_inflight(q, slot);
		if (!r)
			continue;
		r->left = 0;
		fq->chan->ops->cancel(fq->chan, &r->t);
	}
}

static const char *fs_queue_start(struct vio_dev *d, struct vio_devq *q)
{
	struct fs *s = fs_of(d);
	struct fs_queue *fq = &s->queue[q->index];

	fq->moved = 0;
	fq->chan = s->tree->ops->channel(s->tree, q->index);
	if (!fq->chan)
		return "the file tree has no memory or file descriptors for another queue: use fewer queues, or raise the limits";
	q->priv = fq;
	return NULL;
}

static void fs_queue_stop(struct vio_dev *d, struct vio_devq *q)
{
	struct fs_queue *fq = q->priv;

	(void)d;
	fq->chan->ops->close(fq->chan);
	fq->chan = NULL;
	q->priv = NULL;
}

/* What must not wait is not counted either. */
static bool fs_unlimited(const struct vio_dev *d, unsigned queue)
{
	(void)d;
	return queue == 0;
}

const struct vio_dev_type vio_dev_fs = {
	.name = "fs",
	.id = VIO_ID_FS,
	.config_len = sizeof(struct vio_fs_config),
	.queue_size_max = VIO_RING_SIZE_MAX,
	.instance = sizeof(struct fs),
	.request = sizeof(struct fs_req),
	.lane = vio_dev_lane_each,
	.unlimited = fs_unlimited,
	.backend = VIO_BACKEND_TREE,
	.open = vio_fs_dev_open,
	.reset = vio_fs_dev_reset,
	.save = vio_fs_dev_save,
	.load = vio_fs_dev_load,
	.stays = vio_fs_dev_stays,
	.queue_start = fs_queue_start,
	.queue_stop = fs_queue_stop,
	.queue = fs_queue,
	.turn_end = fs_turn_end,
	.cancel = fs_cancel,
	.poll = fs_poll,
};
