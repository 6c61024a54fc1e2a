/*
 * Requests as commands of the protocol.
 *
 *   submit -> in line -> [a free command, room in a ring] -> sent -> ended -> next piece, or done()
 *
 * A request longer than a command may be goes piece by piece.  Commands keep their age, because what was in flight when a
 * server was lost is sent again in that order.
 *
 * Why a write that was acknowledged is not lost with its server: docs/decisions/nbd-keeps-writes.md.
 */
#include <vio/host/disk_nbd.h>
#include <assert.h>
#include <errno.h>
#include <string.h>

enum { CANCELLED = 1, SLOW_ZERO = 2, SYNC = 4 };	/* io->disk_priv, between submit and done */
enum { RANGE = 128 << 20 };		/* bytes of a trim or zero command: a stop does not wait for a terabyte */

static uintptr_t state(const struct vio_disk_io *io) { return (uintptr_t)io->disk_priv; }
static void add_state(struct vio_disk_io *io, uintptr_t bits) { io->disk_priv = (void *)(state(io) | bits); }

/* ---- Commands ---- */

void vio_nbd_commands_init(struct vio_nbd_conn *c)
{
	for (unsigned i = 0; i < VIO_NBD_COMMANDS; i++) {
		c->command[i].conn = c;
		c->command[i].after = c->idle;
		c->idle = &c->command[i];
	}
	for (unsigned i = 0; i < VIO_NBD_REPLAYS; i++)
		c->replay[i].conn = c;
	c->own_flush.conn = c;
	c->waiting_end = &c->waiting;
	c->ended_end = &c->ended;
}

static struct vio_nbd_command *new_command(struct vio_nbd_conn *c, struct vio_disk_io *io, enum vio_nbd_kind kind)
{
	struct vio_nbd_command *m = c->idle;

	c->idle = m->after;
	*m = (struct vio_nbd_command){ .conn = c, .io = io, .kind = kind, .busy = true, .before = c->newest };
	*(c->newest ? &c->newest->after : &c->oldest) = m;
	c->newest = m;
	return m;
}

static void free_command(struct vio_nbd_conn *c, struct vio_nbd_command *m)
{
	m->busy = false;
	if (m < c->command || m >= c->command + VIO_NBD_COMMANDS)
		return;		/* a replay, or our own flush */
	*(m->before ? &m->before->after : &c->oldest) = m->after;
	*(m->after ? &m->after->before : &c->newest) = m->before;
	m->after = c->idle;
	c->idle = m;
}

static void add_ended(struct vio_nbd_command *m)
{
	m->ended = NULL;
	*m->conn->ended_end = m;
	m->conn->ended_end = &m->ended;
}

/* libnbd's call, perhaps from inside aio_pwrite() and its like: nothing may be done here. */
static int ended(void *arg, int *error)
{
	struct vio_nbd_command *m = arg;

	m->error = *error;
	add_ended(m);
	return 1;
}

static void send_command(struct vio_nbd_command *m)
{
	const struct vio_nbd_library *lib = m->conn->disk->lib;
	struct nbd_handle *h = m->conn->h;
	nbd_completion_callback done = { .callback = ended, .user_data = m };
	int64_t cookie = -1;

	m->error = 0;
	if (vio_nbd_is_gone(m->conn))
		return;
	switch (m->kind) {
	case VIO_NBD_READ:
		cookie = lib->aio_pread(h, m->buffer->bytes, m->length, m->offset, done, 0);
		break;
	case VIO_NBD_WRITE:
		cookie = lib->aio_pwrite(h, m->buffer->bytes, m->length, m->offset, done, m->flags);
		break;
	case VIO_NBD_ZERO:
		cookie = lib->aio_zero(h, m->length, m->offset, done, m->flags);
		break;
	case VIO_NBD_TRIM:
		cookie = lib->aio_trim(h, m->length, m->offset, done, 0);
		break;
	case VIO_NBD_FLUSH:
		m->mark = m->conn->acked;
		cookie = lib->aio_flush(h, done, 0);
		break;
	}
	m->sent = cookie >= 0;
	if (m->sent || vio_nbd_is_gone(m->conn))
		return;		/* a lost server's: it is sent again */
	m->error = lib->get_errno() ? lib->get_errno() : EIO;
	m->sent = true;
	add_ended(m);
}

/* ---- The next piece of a request ---- */

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

static bool is_over(const struct vio_nbd *d, const struct vio_disk_io *io)
{
	if (io->op == VIO_DISK_FLUSH || io->progress < io->length)
		return false;
	return !(io->durable && io->op != VIO_DISK_READ && d->can_flush && !d->can_fua && !(state(io) & SYNC));
}

static enum vio_nbd_kind next_kind(const struct vio_nbd *d, const struct vio_disk_io *io)
{
	if (io->op == VIO_DISK_FLUSH || io->progress == io->length)
		return VIO_NBD_FLUSH;
	if (io->op == VIO_DISK_READ)
		return VIO_NBD_READ;
	if (io->op == VIO_DISK_DISCARD)
		return VIO_NBD_TRIM;
	return io->op == VIO_DISK_ZERO && d->can_zero && !(state(io) & SLOW_ZERO) ? VIO_NBD_ZERO : VIO_NBD_WRITE;
}

static uint32_t flags_of(const struct vio_nbd *d, const struct vio_disk_io *io, enum vio_nbd_kind kind)
{
	uint32_t flags = 0;

	if (kind != VIO_NBD_WRITE && kind != VIO_NBD_ZERO)
		return 0;
	if (d->can_fua && (io->durable || d->fua_always))
		flags |= LIBNBD_CMD_FLAG_FUA;
	if (kind == VIO_NBD_ZERO && !io->may_unmap)
		flags |= LIBNBD_CMD_FLAG_NO_HOLE;
	if (kind == VIO_NBD_ZERO && d->can_fast_zero)	/* what would take the server long is cut into pieces here */
		flags |= LIBNBD_CMD_FLAG_FAST_ZERO;
	return flags;
}

static struct vio_nbd_buffer *take_buffer(struct vio_nbd_conn *c, enum vio_nbd_kind kind, uint64_t n)
{
	if (kind == VIO_NBD_READ)
		return vio_nbd_ring_take(&c->reads, n);
	return vio_nbd_ring_take(&c->writes, kind == VIO_NBD_ZERO ? 0 : n);
}

/* False: it has to wait for a command or for room. */
static bool start(struct vio_nbd_conn *c, struct vio_disk_io *io)
{
	const struct vio_nbd *d = c->disk;
	enum vio_nbd_kind kind = next_kind(d, io);
	bool buffered = kind == VIO_NBD_READ || kind == VIO_NBD_WRITE || kind == VIO_NBD_ZERO;
	uint64_t n = kind == VIO_NBD_FLUSH ? 0 :
	    least(io->length - io->progress, kind == VIO_NBD_READ || kind == VIO_NBD_WRITE ? d->piece : RANGE);
	struct vio_nbd_buffer *b = NULL;

	if (!c->idle || (buffered && !(b = take_buffer(c, kind, n))))
		return false;
	struct vio_nbd_command *m = new_command(c, io, kind);
	m->offset = kind == VIO_NBD_FLUSH ? 0 : io->offset + io->progress;
	m->length = n;
	m->flags = flags_of(d, io, kind);
	m->buffer = b;
	if (b) {
		b->offset = m->offset;
		b->length = n;
		b->zero = kind == VIO_NBD_ZERO;
		b->flags = m->flags & LIBNBD_CMD_FLAG_NO_HOLE;
	}
	if (kind == VIO_NBD_WRITE && io->op == VIO_DISK_ZERO)
		memset(b->bytes, 0, n);
	else if (kind == VIO_NBD_WRITE)
		vio_cur_get(&io->bytes, b->bytes, n);
	send_command(m);
	return true;
}

static void flush_ourselves(struct vio_nbd_conn *c)
{
	struct vio_nbd_command *m = &c->own_flush;

	if (m->busy || !vio_nbd_keeps(c))
		return;
	*m = (struct vio_nbd_command){ .conn = c, .kind = VIO_NBD_FLUSH, .busy = true };
	send_command(m);
}

void vio_nbd_pump(struct vio_nbd_conn *c)
{
	if (c->flush_error)
		vio_nbd_ring_covered(&c->writes, UINT64_MAX);
	while (c->waiting && !vio_nbd_is_gone(c)) {
		struct vio_disk_io *io = c->waiting;
		c->waiting = io->next;
		if (!c->waiting)
			c->waiting_end = &c->waiting;
		if (start(c, io))
			continue;
		io->next = c->waiting;
		c->waiting = io;
		if (!io->next)
			c->waiting_end = &io->next;
		break;
	}
	if (c->writes.used > c->writes.size / 2)
		flush_ourselves(c);
}

/* ---- The end of a command ---- */

static void wait_in_line(struct vio_nbd_conn *c, struct vio_disk_io *io)
{
	io->next = NULL;
	*c->waiting_end = io;
	c->waiting_end = &io->next;
}

static void written(struct vio_nbd_conn *c, struct vio_nbd_command *m)
{
	if (m->error || !vio_nbd_keeps(c)) {
		vio_nbd_ring_release(&c->writes, m->buffer);
		return;
	}
	m->buffer->use = VIO_NBD_ACKED;
	m->buffer->acked = ++c->acked;
}

/*
 * A server that can't write back what it cached may forget it, and succeed next time.  So the first failure stays, and nothing
 * is kept any more that no flush will ever cover.
 */
static void flushed(struct vio_nbd_conn *c, struct vio_nbd_command *m)
{
	if (m->error == ECANCELED)
		return;		/* by us, for want of a server */
	if (m->error && !c->flush_error)
		c->flush_error = m->error;
	if (!m->error && c->flush_error)
		m->error = c->flush_error;
	vio_nbd_ring_covered(&c->writes, c->flush_error ? UINT64_MAX : m->mark);
}

static bool is_slow_zero(const struct vio_nbd_command *m)
{
	return m->kind == VIO_NBD_ZERO && m->io && (m->error == ENOTSUP || m->error == EOPNOTSUPP);
}

static void go_on(struct vio_nbd_conn *c, struct vio_disk_io *io, int error)
{
	if (!error && !is_over(c->disk, io) && state(io) & CANCELLED)
		error = ECANCELED;
	if (error || is_over(c->disk, io))
		io->done(io, error);
	else
		wait_in_line(c, io);
}

static void settle(struct vio_nbd_conn *c, struct vio_nbd_command *m)
{
	struct vio_disk_io *io = m->io;
	bool slow = is_slow_zero(m);

	if (m->kind == VIO_NBD_READ) {
		if (!m->error)
			vio_cur_put(&io->bytes, m->buffer->bytes, m->length);
		vio_nbd_ring_release(&c->reads, m->buffer);
	} else if (m->kind == VIO_NBD_FLUSH) {
		flushed(c, m);
	} else if (m->buffer) {
		written(c, m);
	}
	int error = m->error;
	free_command(c, m);
	if (!io)
		return;
	if (slow) {
		add_state(io, SLOW_ZERO);
		wait_in_line(c, io);
		return;
	}
	if (m->kind == VIO_NBD_FLUSH && io->op == VIO_DISK_FLUSH) {
		io->done(io, error);
		return;
	}
	if (m->kind == VIO_NBD_FLUSH)
		add_state(io, SYNC);
	io->progress += error ? 0 : m->length;
	go_on(c, io, error);
}

/* A replay writes what was acknowledged long ago: when that fails, no flush can promise it any more. */
static void replayed(struct vio_nbd_conn *c, struct vio_nbd_command *m)
{
	m->busy = false;
	c->replays--;
	if (m->error && !c->flush_error)
		c->flush_error = m->error;
}

static bool is_replay(const struct vio_nbd_conn *c, const struct vio_nbd_command *m)
{
	return m >= c->replay && m < c->replay + VIO_NBD_REPLAYS;
}

void vio_nbd_collect(struct vio_nbd_conn *c)
{
	struct vio_nbd_command *m;

	while ((m = c->ended)) {
		c->ended = m->ended;
		if (!c->ended)
			c->ended_end = &c->ended;
		m->sent = false;
		if (m->error == ESHUTDOWN)
			c->drop = true;
		if (m->error == ESHUTDOWN || m->error == ENOTCONN)
			continue;	/* it is sent again */
		if (is_replay(c, m))
			replayed(c, m);
		else
			settle(c, m);
	}
}

/* ---- A lost server ---- */

void vio_nbd_forget(struct vio_nbd_conn *c)
{
	struct vio_nbd_command *next;

	c->ended = NULL;
	c->ended_end = &c->ended;
	c->own_flush.busy = false;
	c->replays = 0;
	for (unsigned i = 0; i < VIO_NBD_REPLAYS; i++)
		c->replay[i].busy = false;
	for (struct vio_nbd_command *m = c->oldest; m; m = next) {
		next = m->after;
		m->sent = false;
		if (!(state(m->io) & CANCELLED))
			continue;
		m->error = ECANCELED;
		settle(c, m);
	}
}

void vio_nbd_resend(struct vio_nbd_conn *c)
{
	for (struct vio_nbd_command *m = c->oldest; m; m = m->after)
		if (!m->sent)
			send_command(m);
}

void vio_nbd_replay_begin(struct vio_nbd_conn *c)
{
	c->replay_at = vio_nbd_ring_first(&c->writes);
}

static bool overlaps(const struct vio_nbd_conn *c, const struct vio_nbd_buffer *b)
{
	for (unsigned i = 0; i < VIO_NBD_REPLAYS; i++) {
		const struct vio_nbd_command *m = &c->replay[i];
		if (m->busy && m->offset < b->offset + b->length && b->offset < m->offset + m->length)
			return true;
	}
	return false;
}

static struct vio_nbd_command *idle_replay(struct vio_nbd_conn *c)
{
	for (unsigned i = 0; i < VIO_NBD_REPLAYS; i++)
		if (!c->replay[i].busy)
			return &c->replay[i];
	return NULL;
}

/* In their order, as far as they overlap. */
bool vio_nbd_replay(struct vio_nbd_conn *c)
{
	struct vio_nbd_command *m;

	for (; c->replay_at; c->replay_at = vio_nbd_ring_next(&c->writes, c->replay_at)) {
		struct vio_nbd_buffer *b = c->replay_at;
		if (b->use != VIO_NBD_ACKED)
			continue;
		if (overlaps(c, b) || !(m = idle_replay(c)))
			return false;
		*m = (struct vio_nbd_command){ .conn = c, .kind = b->zero ? VIO_NBD_ZERO : VIO_NBD_WRITE, .buffer = b, .busy = true,
			.offset = b->offset, .length = b->length, .flags = b->flags };
		c->replays++;
		send_command(m);
	}
	return c->replays == 0;
}

/* ---- The channel ---- */

static void submit(struct vio_disk_chan *chan, struct vio_disk_io *io)
{
	struct vio_nbd_conn *c = (struct vio_nbd_conn *)chan;
	const struct vio_nbd *d = c->disk;

	io->progress = 0;
	io->disk_priv = NULL;
	if (io->offset > d->disk.size || io->length > d->disk.size - io->offset)
		io->done(io, EIO);
	else if (io->op == VIO_DISK_FLUSH ? !d->can_flush : !io->length)
		io->done(io, 0);	/* without flushes there is nothing to ask the server for */
	else if (io->op == VIO_DISK_ERASE)
		io->done(io, ENOTSUP);
	else {
		wait_in_line(c, io);
		vio_nbd_serve(c);
	}
}

static bool take_from_line(struct vio_nbd_conn *c, struct vio_disk_io *io)
{
	for (struct vio_disk_io **p = &c->waiting; *p; p = &(*p)->next)
		if (*p == io) {
			*p = io->next;
			if (!*p)
				c->waiting_end = p;
			return true;
		}
	return false;
}

/* What the server has been given must be waited for, as long as there is a server. */
static void cancel(struct vio_disk_chan *chan, struct vio_disk_io *io)
{
	struct vio_nbd_conn *c = (struct vio_nbd_conn *)chan;
	struct vio_nbd_command *m = c->oldest;

	if (take_from_line(c, io)) {
		io->done(io, ECANCELED);
		return;
	}
	while (m && m->io != io)
		m = m->after;
	assert(m);
	add_state(io, CANCELLED);
	if (m->sent || c->state == VIO_NBD_UP)
		return;
	m->error = ECANCELED;
	settle(c, m);
}

static void chan_close(struct vio_disk_chan *chan) { vio_nbd_conn_leave((struct vio_nbd_conn *)chan); }

const struct vio_disk_chan_ops vio_nbd_chan_ops = { .submit = submit, .cancel = cancel, .close = chan_close };
