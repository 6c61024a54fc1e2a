/*
 * Control messages of the console device (virtio 1.4, 5.3.6.2): which ports there are, and what they are like.
 *
 * What a port owes the driver is a set of bits, not a list of messages.  A driver without control buffers therefore costs
 * nothing, however often ports come, go, open and are resized meanwhile; and when it has some it hears how things are, in
 * the order of the bits: that a port was closed even if it is open again.
 */
#include <vio/device/console_impl.h>

/* ---- Device to driver ---- */

void vio_console_owe(struct port *p, uint8_t due)
{
	struct console *n = p->console;
	struct vio_dev_queue *q = &n->dev.queue[VIO_CONSOLE_Q_CONTROL_RX];

	p->due |= due;
	if (p->due && n->driver_ready && q->state == VIO_QUEUE_STARTED)
		vio_dev_wake(&q->ring);
}

/* The first thing that p owes and that may be said now; 0: none. */
static uint8_t first_due(const struct port *p)
{
	uint8_t due = p->ready ? p->due : p->due & (uint8_t)~DUE_AFTER_READY;
	return (uint8_t)(due & -due);
}

/* The next port that has something to say, after the one that spoke last. */
static struct port *next_port(struct console *n)
{
	for (unsigned i = 0; n->driver_ready && i < n->max_ports; i++) {
		struct port *p = &n->port[(n->next + i) % n->max_ports];
		if (first_due(p))
			return p;
	}
	return NULL;
}

struct message { struct vio_console_control head; unsigned char more[VIO_CONSOLE_NAME]; };

/* Bytes of it.  Where a value is unused it is 1, without which Linux ignores CONSOLE_PORT. */
static size_t make_message(const struct port *p, uint8_t due, struct message *m)
{
	uint16_t cols = p->stream ? p->stream->columns : 0, rows = p->stream ? p->stream->rows : 0;
	bool swap = p->console->rows_first;
	struct vio_console_resize size = { vio_le16_of(swap ? rows : cols), vio_le16_of(swap ? cols : rows) };
	uint16_t event = VIO_CONSOLE_PORT_OPEN, value = due != DUE_CLOSED;
	size_t more = 0;

	switch (due) {
	case DUE_REMOVE:
		event = VIO_CONSOLE_DEVICE_REMOVE;
		break;
	case DUE_ADD:
		event = VIO_CONSOLE_DEVICE_ADD;
		break;
	case DUE_CONSOLE:
		event = VIO_CONSOLE_CONSOLE_PORT;
		break;
	case DUE_NAME:
		event = VIO_CONSOLE_PORT_NAME;
		memcpy(m->more, p->name, more = p->name_len);
		break;
	case DUE_RESIZE:
		event = VIO_CONSOLE_RESIZE;
		memcpy(m->more, &size, more = sizeof size);
		break;
	}
	m->head = (struct vio_console_control){ vio_le32_of(vio_console_number(p)), vio_le16_of(event), vio_le16_of(value) };
	return sizeof m->head + more;
}

static void was_told(struct port *p, uint8_t due)
{
	p->due &= (uint8_t)~due;
	switch (due) {
	case DUE_REMOVE:
		p->added = p->ready = p->told_open = p->guest_open = false;
		break;
	case DUE_ADD:
		p->added = true;
		break;
	case DUE_CLOSED: case DUE_OPEN:
		p->told_open = due == DUE_OPEN;
		break;
	}
}

void vio_console_send(struct console *n, struct vio_devq *q)
{
	struct message m;
	struct vio_chain *c;
	struct port *p;

	while ((p = next_port(n))) {
		uint8_t due = first_due(p);
		size_t bytes = make_message(p, due, &m);
		if (!(c = vio_devq_pop(q)))
			return;
		if (vio_cur_put(&c->w, &m, bytes)) {
			was_told(p, due);
			n->next = vio_console_number(p) + 1;
		} else {
			vio_dev_refused(q);
			if (c->w.left >= sizeof m.head)
				p->due &= (uint8_t)~due;	/* this driver has no room for a name or a size: do without */
		}
		vio_dev_push(q, c);
	}
	q->why_empty = VIO_WAIT_DEVICE;		/* nothing to say: buffers stay where they are */
}

/* ---- What the world does to a port ---- */

static void size_changed(struct port *p)
{
	struct console *n = p->console;
	bool first = p == &n->port[0];

	if (p->stream->columns == p->columns && p->stream->rows == p->rows)
		return;
	p->columns = p->stream->columns;
	p->rows = p->stream->rows;
	if (p->ready && p->is_console)
		vio_console_owe(p, DUE_RESIZE);
	if (!first)
		return;
	n->config.cols = vio_le16_of(p->columns);	/* 5.3.6: port 0 only */
	n->config.rows = vio_le16_of(p->rows);
	vio_dev_config_changed(&n->dev);
}

void vio_console_stream_changed(struct port *p)
{
	if (!p->stream->open)
		p->due &= (uint8_t)~DUE_OPEN;
	if (!p->stream->open && p->told_open)
		vio_console_owe(p, DUE_CLOSED);
	if (p->stream->open && p->ready && (!p->told_open || p->due & DUE_CLOSED))
		vio_console_owe(p, DUE_OPEN);
	size_changed(p);
}

/* ---- Driver to device ---- */

static bool device_ready(struct console *n, uint16_t value)
{
	if (value > 1)
		return false;
	n->driver_ready = value;
	for (unsigned i = 0; i < n->max_ports; i++) {
		struct port *p = &n->port[i];
		/* 5.3.6.2: MUST NOT add a port which exists, however often the driver says that it is ready */
		vio_console_owe(p, p->stream && !p->added ? DUE_ADD : 0);
	}
	return true;
}

static bool port_ready(struct port *p, uint16_t value)
{
	if (value > 1 || p->ready)
		return false;
	if (value == 0)
		return true;		/* the driver will not use it */
	p->ready = true;
	if (p->stream)
		vio_console_owe(p, (uint8_t)((p->is_console ? DUE_CONSOLE : 0) | (p->name_len ? DUE_NAME : 0) |
		    (p->is_console && p->columns ? DUE_RESIZE : 0) | (p->stream->open ? DUE_OPEN : 0)));
	return true;
}

static bool port_open(struct port *p, uint16_t value)
{
	if (value > 1)
		return false;
	p->guest_open = value;
	vio_console_look(p);
	return true;
}

/* False: it makes no sense, and nothing was done. */
static bool hear(struct console *n, struct vio_console_control m)
{
	uint32_t id = vio_le32_get(m.id);
	uint16_t event = vio_le16_get(m.event), value = vio_le16_get(m.value);

	if (event == VIO_CONSOLE_DEVICE_READY)
		return device_ready(n, value);
	if (id >= n->max_ports || !n->port[id].added)
		return false;
	if (event == VIO_CONSOLE_PORT_READY)
		return port_ready(&n->port[id], value);
	return event == VIO_CONSOLE_PORT_OPEN && port_open(&n->port[id], value);
}

void vio_console_listen(struct console *n, struct vio_devq *q)
{
	struct vio_console_control m;
	struct vio_chain *c;

	while ((c = vio_devq_pop(q))) {
		bool whole = vio_cur_get(&c->r, &m, sizeof m);
		if (!whole || !hear(n, m) || c->w_total)
			vio_dev_refused(q);
		vio_dev_push(q, c);
	}
}

/* ---- The driver goes, or moves to another machine ---- */

void vio_console_forget(struct console *n)
{
	n->driver_ready = false;
	n->next = 0;
	for (unsigned i = 0; i < n->max_ports; i++) {
		struct port *p = &n->port[i];
		p->added = p->ready = p->told_open = p->guest_open = p->stalled = false;
		p->due = p->stream ? DUE_ADD : 0;
		p->sent = 0;
	}
}

enum { SAVED_ADDED = 1, SAVED_READY = 2, SAVED_TOLD_OPEN = 4, SAVED_GUEST_OPEN = 8 };
struct saved_port { uint8_t flags, due, unused[6]; vio_le64 sent; };
struct saved { uint8_t driver_ready, unused[3]; vio_le32 max_ports; };
VIO_STATIC_ASSERT(sizeof(struct saved) == 8 && sizeof(struct saved_port) == 16, "a file format");

size_t vio_console_save(struct vio_dev *d, void *to, size_t room)
{
	struct console *n = vio_console_of(d);
	size_t bytes = sizeof(struct saved) + n->max_ports * sizeof(struct saved_port);
	struct saved head = { .driver_ready = n->driver_ready, .max_ports = vio_le32_of(n->max_ports) };
	unsigned char *at = to;

	if (!to || room < bytes)
		return bytes;
	memcpy(at, &head, sizeof head);
	at += sizeof head;
	for (unsigned i = 0; i < n->max_ports; i++, at += sizeof(struct saved_port)) {
		const struct port *p = &n->port[i];
		struct saved_port s = { .due = p->due & DUE_AFTER_READY, .sent = vio_le64_of(p->sent) };
		s.flags = (uint8_t)((p->added ? SAVED_ADDED : 0) | (p->ready ? SAVED_READY : 0) | (p->told_open ? SAVED_TOLD_OPEN : 0) |
		    (p->guest_open ? SAVED_GUEST_OPEN : 0));
		memcpy(at, &s, sizeof s);
	}
	return bytes;
}

static void load_port(struct port *p, const struct saved_port *s)
{
	p->added = s->flags & SAVED_ADDED;
	p->ready = s->flags & SAVED_READY;
	p->told_open = s->flags & SAVED_TOLD_OPEN;
	p->guest_open = s->flags & SAVED_GUEST_OPEN;
	p->sent = vio_le64_get(s->sent);
	p->due = s->due;
	if (!p->stream)		/* the driver knows a port that is not here */
		p->due = p->added ? DUE_REMOVE : 0;
	else if (!p->added)
		p->due = DUE_ADD;
	else
		vio_console_stream_changed(p);
}

const char *vio_console_load(struct vio_dev *d, const void *from, size_t bytes)
{
	struct console *n = vio_console_of(d);
	struct saved_port s[VIO_CONSOLE_PORTS];
	struct saved head;

	if (bytes != sizeof head + n->max_ports * sizeof *s)
		return "the saved state is of a console device with another number of ports: start this one with the same --max-ports";
	memcpy(&head, from, sizeof head);
	memcpy(s, (const unsigned char *)from + sizeof head, bytes - sizeof head);
	if (head.driver_ready > 1 || vio_le32_get(head.max_ports) != n->max_ports)
		return "the saved state of the console device makes no sense: it was saved by another program";
	for (unsigned i = 0; i < n->max_ports; i++)
		if (s[i].flags > 15 || s[i].due & ~DUE_AFTER_READY || (s[i].flags > SAVED_ADDED && !(s[i].flags & SAVED_ADDED)))
			return "the saved state of the console device makes no sense: it was saved by another program";
	n->driver_ready = head.driver_ready;
	for (unsigned i = 0; i < n->max_ports; i++)
		load_port(&n->port[i], &s[i]);
	return NULL;
}
