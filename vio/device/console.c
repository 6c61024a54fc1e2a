/*
 * Console device (virtio 1.4, section 5.3): ports, each a stream of bytes both ways.
 *
 * Nothing is ever in flight.  A chain that its stream does not take whole goes back to the ring, and the port remembers how
 * many of its bytes have gone (port.sent): so a full pipe holds up its writer and neither a stop nor another port, and no
 * byte is lost or doubled.  The other way bytes stay in the stream until the driver has opened the port and given buffers.
 */
#include <vio/device/console_impl.h>

enum {
	TURN_BYTES = 256 << 10,		/* of a queue, before others get their turn */
	QUEUE_SIZE = 256			/* what user-mode Linux asks for, whatever is offered */
};

static struct port *port_of(struct console *n, unsigned queue)
{
	return &n->port[queue < VIO_CONSOLE_Q_CONTROL_RX ? 0 : (queue - 2) / 2];
}

static void wake(struct console *n, unsigned queue)
{
	if (n->dev.queue[queue].state == VIO_QUEUE_STARTED)
		vio_dev_wake(&n->dev.queue[queue].ring);
}

void vio_console_look(struct port *p)
{
	unsigned queue = vio_console_queue(vio_console_number(p));

	wake(p->console, queue);
	wake(p->console, queue + 1);
}

/* Without MULTIPORT there is port 0, and it is open. */
static bool driver_reads(const struct port *p)
{
	return vio_console_multiport(p->console) ? p->added && p->guest_open : vio_console_number(p) == 0;
}

static void pause(struct port *p, bool paused)
{
	if (p->stream && p->stream->ops->pause)
		p->stream->ops->pause(p->stream, paused);
}

/* ---- Emergency write (5.3.5): a character at any time, to port 0 ---- */

/* False: some are left, and nothing may overtake them. */
static bool send_urgent(struct console *n)
{
	struct vio_stream *s = n->port[0].stream;

	while (n->urgent_count && s && s->open) {
		struct vio_seg seg = { n->urgent, n->urgent_count };
		struct vio_cur c = { .seg = &seg, .left = n->urgent_count };
		long sent = s->ops->write(s, &c);
		if (sent <= 0)
			break;
		n->urgent_count = (uint16_t)(n->urgent_count - sent);
		memmove(n->urgent, n->urgent + sent, n->urgent_count);
	}
	return n->urgent_count == 0;
}

static void console_config(struct vio_dev *d, uint32_t at, uint32_t len)
{
	struct console *n = vio_console_of(d);
	const uint32_t field = offsetof(struct vio_console_config, emerg_wr);
	unsigned char c = (unsigned char)vio_le32_get(n->config.emerg_wr);

	n->config.emerg_wr = vio_le32_of(0);
	if (at > field || at + len <= field)	/* not the lower byte */
		return;
	if (n->urgent_count < EMERGENCY)
		n->urgent[n->urgent_count++] = c;
	else
		n->urgent_lost++;
	send_urgent(n);
}

/* ---- Out of the guest ---- */

/* Give c's bytes to the stream.  False: it takes no more now. */
static bool give(struct port *p, struct vio_cur *c, uint64_t *moved)
{
	struct vio_stream *s = p->stream;

	while (c->left && s && s->open && *moved < TURN_BYTES) {
		long sent = s->ops->write(s, c);
		if (sent == VIO_STREAM_NONE && !p->lossy)
			return false;
		if (sent <= 0)
			break;
		p->sent += (uint64_t)sent;
		p->from_guest += (uint64_t)sent;
		*moved += (uint64_t)sent;
	}
	if (c->left && *moved >= TURN_BYTES)
		return false;
	/* Nobody is there, or went away: Linux waits for its console's buffers, whoever listens. */
	p->dropped += c->left;
	return true;
}

static void transmit(struct port *p, struct vio_devq *q)
{
	uint64_t moved = 0;
	struct vio_chain *c;

	p->stalled = false;
	if (vio_console_number(p) == 0 && p->stream && p->stream->open && !send_urgent(p->console)) {
		p->stalled = true;
		q->why_empty = VIO_WAIT_DEVICE;
		return;
	}
	while ((c = vio_devq_pop(q))) {
		vio_cur_skip(&c->r, p->sent < c->r.left ? p->sent : c->r.left);
		if (!give(p, &c->r, &moved)) {
			vio_devq_unpop(q, c);
			if (moved >= TURN_BYTES) {
				q->why_empty = VIO_TURN_OVER;
			} else {
				p->stalled = true;
				q->why_empty = VIO_WAIT_DEVICE;
			}
			return;
		}
		p->sent = 0;
		if (c->w_total || !c->r_total)		/* 5.3.6.1: MUST NOT */
			vio_dev_refused(q);
		vio_dev_push(q, c);
		if (moved >= TURN_BYTES)
			vio_devq_yield(q);
	}
}

/* ---- Into the guest ---- */

static void receive(struct port *p, struct vio_devq *q)
{
	struct vio_stream *s = p->stream;
	uint64_t moved = 0;
	struct vio_chain *c;

	if (!s || !s->open || !driver_reads(p)) {
		pause(p, true);
		q->why_empty = VIO_WAIT_DEVICE;
		return;
	}
	pause(p, false);
	while ((c = vio_devq_pop(q))) {
		long got = c->w.left ? s->ops->read(s, &c->w) : 0;
		if (got <= 0 && c->w_total) {
			vio_devq_unpop(q, c);
			q->why_empty = VIO_WAIT_DEVICE;
			return;
		}
		if (c->r_total)				/* 5.3.6.1: MUST NOT */
			vio_dev_refused(q);
		p->to_guest += (uint64_t)got;
		moved += (uint64_t)got;
		vio_dev_push(q, c);
		if (moved >= TURN_BYTES)
			vio_devq_yield(q);
	}
	if (q->why_empty != VIO_TURN_OVER)
		pause(p, true);		/* no buffers: the driver's kick comes here again */
}

/* ---- Queues ---- */

static void console_queue(struct vio_dev *d, struct vio_devq *q)
{
	struct console *n = vio_console_of(d);

	if (q->index > VIO_CONSOLE_Q_TX0 && !vio_console_multiport(n))
		q->why_empty = VIO_WAIT_DEVICE;		/* 5.3.2: does not exist */
	else if (q->index == VIO_CONSOLE_Q_CONTROL_RX)
		vio_console_send(n, q);
	else if (q->index == VIO_CONSOLE_Q_CONTROL_TX)
		vio_console_listen(n, q);
	else if (q->index & 1)
		transmit(port_of(n, q->index), q);
	else
		receive(port_of(n, q->index), q);
}

/* The driver takes its buffers back, or has gone: half a chain is not finished. */
static void console_cancel(struct vio_dev *d, struct vio_devq *q)
{
	if (q->index & 1 && q->index != VIO_CONSOLE_Q_CONTROL_TX)
		port_of(vio_console_of(d), q->index)->sent = 0;
}

static void console_queue_stop(struct vio_dev *d, struct vio_devq *q)
{
	if (!(q->index & 1) && q->index != VIO_CONSOLE_Q_CONTROL_RX)
		pause(port_of(vio_console_of(d), q->index), true);
}

static void on_ready(void *arg, unsigned what)
{
	struct port *p = arg;
	unsigned queue = vio_console_queue(vio_console_number(p));

	if (what & VIO_STREAM_CHANGED)
		vio_console_stream_changed(p);
	if (what & (VIO_STREAM_READ | VIO_STREAM_CHANGED))
		wake(p->console, queue);
	if (!(what & (VIO_STREAM_WRITE | VIO_STREAM_CHANGED)))
		return;
	if (vio_console_number(p) == 0)
		send_urgent(p->console);
	if (p->stalled)
		wake(p->console, queue + 1);
}

/* ---- Ports come and go ---- */

static bool is_free(const struct port *p) { return !p->stream && !p->added; }

static const char *refuse_name(const struct console *n, const char *name, size_t *len)
{
	*len = 0;
	while (name && name[*len])
		if (++*len > VIO_CONSOLE_NAME)
			return "a port's name is longer than 128 bytes: choose a shorter one";
	for (unsigned i = 0; *len && i < n->max_ports; i++)
		if (n->port[i].stream && n->port[i].name_len == *len && !memcmp(n->port[i].name, name, *len))
			return "there is a port of that name already: choose another one";
	return NULL;
}

static const char *choose(const struct console *n, int *number)
{
	if (*number >= (int)n->max_ports)
		return "the number is beyond the ports that the device was started for: choose a lower one, or start it with more";
	if (*number >= 0)
		return is_free(&n->port[*number]) ? NULL : "there is such a port already, or the driver was not told yet that it has gone";
	for (*number = 0; *number < (int)n->max_ports; ++*number)
		if (is_free(&n->port[*number]))
			return NULL;
	return "the device has as many ports as it was started for: remove one, or start it with more";
}

int vio_dev_console_add(struct vio_dev *d, int number, const struct vio_console_port *o, const char **why)
{
	struct console *n = vio_console_of(d);
	size_t len;

	*why = refuse_name(n, o->name, &len);
	if (!*why)
		*why = choose(n, &number);
	if (*why)
		return -1;
	struct port *p = &n->port[number];
	*p = (struct port){ .console = n, .stream = o->stream, .is_console = o->console, .lossy = o->lossy, .name_len = (uint8_t)len };
	if (len)
		memcpy(p->name, o->name, len);
	o->stream->ready = on_ready;
	o->stream->arg = p;
	vio_console_owe(p, DUE_ADD);
	vio_console_stream_changed(p);
	if (number == 0)
		send_urgent(n);
	vio_console_look(p);
	return number;
}

bool vio_dev_console_remove(struct vio_dev *d, unsigned number)
{
	struct console *n = vio_console_of(d);
	struct port *p = &n->port[number];

	if (number >= n->max_ports || !p->stream)
		return false;
	p->stream->ready = NULL;
	p->stream->arg = NULL;
	p->stream = NULL;
	p->due = 0;
	p->sent = 0;
	if (p->added)
		vio_console_owe(p, DUE_REMOVE);
	vio_console_look(p);		/* what is on its way out is dropped */
	return true;
}

bool vio_dev_console_view(const struct vio_dev *d, unsigned number, struct vio_console_view *v)
{
	const struct console *n = (const struct console *)d;
	const struct port *p = &n->port[number];

	if (number >= n->max_ports || !p->stream)
		return false;
	*v = (struct vio_console_view){ .stream = p->stream, .name = p->name, .console = p->is_console, .added = p->added,
		.ready = p->ready, .guest_open = p->guest_open, .to_guest = p->to_guest, .from_guest = p->from_guest, .dropped = p->dropped };
	return true;
}

/* ---- Life ---- */

static const char *console_open(struct vio_dev *d, const void *options)
{
	const struct vio_console_options *o = options;
	struct console *n = vio_console_of(d);
	const char *why = NULL;

	n->max_ports = o->max_ports ? o->max_ports : o->count ? o->count : 1;
	if (n->max_ports > VIO_CONSOLE_PORTS)
		return "a console device has at most 31 ports";
	if (o->queue_size > VIO_RING_SIZE_MAX)
		return "a queue has at most 32768 entries";
	n->rows_first = o->rows_first;
	for (unsigned i = 0; i < n->max_ports; i++)
		n->port[i].console = n;
	d->config = (uint8_t *)&n->config;
	n->config.max_nr_ports = vio_le32_of(n->max_ports);
	for (unsigned i = 0; i < o->count && !why; i++)
		vio_dev_console_add(d, -1, &o->ports[i], &why);
	d->queues = (uint16_t)(2 + 2 * n->max_ports);
	d->queue_size_max = o->queue_size ? o->queue_size : QUEUE_SIZE;
	return why;
}

static void console_close(struct vio_dev *d)
{
	struct console *n = vio_console_of(d);

	for (unsigned i = 0; i < n->max_ports; i++)
		if (n->port[i].stream)
			n->port[i].stream->ready = NULL;
}

static void console_reset(struct vio_dev *d) { vio_console_forget(vio_console_of(d)); }

static const unsigned char features[] = { VIO_CONSOLE_F_SIZE, VIO_CONSOLE_F_MULTIPORT, VIO_CONSOLE_F_EMERG_WRITE };

static const uint8_t writable[sizeof(struct vio_console_config)] = {	/* emerg_wr */
	[offsetof(struct vio_console_config, emerg_wr)] = 0xff, 0xff, 0xff, 0xff
};

const struct vio_dev_type vio_dev_console = {
	.name = "console",
	.id = VIO_ID_CONSOLE,
	.features = features,
	.features_count = sizeof features,
	.config_len = sizeof(struct vio_console_config),
	.config_writable = writable,
	.queue_size_max = VIO_RING_SIZE_MAX,
	.instance = sizeof(struct console),
	.request = sizeof(struct vio_chain),
	.backend = VIO_BACKEND_STREAM,
	.open = console_open,
	.close = console_close,
	.config = console_config,
	.reset = console_reset,
	.save = vio_console_save,
	.load = vio_console_load,
	.queue_stop = console_queue_stop,
	.queue = console_queue,
	.cancel = console_cancel,
};
