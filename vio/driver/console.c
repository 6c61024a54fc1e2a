/* Console driver (virtio 1.4, section 5.3). */
#include <vio/driver/console.h>
#include <vio/ring/freestanding.h>

enum { QUEUE = VIO_CONSOLE_DRV_QUEUE, BYTES = VIO_CONSOLE_DRV_BYTES };
VIO_STATIC_ASSERT(QUEUE <= 8, "vio_console_line.tx_busy");

static const struct vio_platform *platform(const struct vio_console *c) { return &c->drv.port->platform; }
static bool multiport(const struct vio_console *c) { return vio_drv_has(&c->drv, VIO_CONSOLE_F_MULTIPORT); }

static struct vio_features drives(void)
{
	static const unsigned char bits[] = {
		VIO_CONSOLE_F_SIZE, VIO_CONSOLE_F_MULTIPORT, VIO_CONSOLE_F_EMERG_WRITE,
		VIO_F_EVENT_IDX, VIO_F_RING_PACKED, VIO_F_IN_ORDER, VIO_F_NOTIFICATION_DATA, VIO_F_RING_RESET, VIO_F_SUSPEND,
	};
	return vio_features_of(bits, sizeof bits);
}

/* ---- A pair of queues ---- */

static uint64_t address(const struct vio_console_line *l, const void *p)
{
	return l->mapped.addr + (uint64_t)((const unsigned char *)p - (const unsigned char *)l->pair);
}

/* 5.3.6.1: nothing device-readable in a receive queue, nothing device-writable in a transmit queue. */
static void give_back(struct vio_console_line *l, unsigned i)
{
	struct vio_buf b = { address(l, l->pair->rx[i]), BYTES };
	vio_drvq_add(&l->rx, &b, 0, 1, l->pair->rx[i]);
}

static bool send(struct vio_console_line *l, const void *from, uint32_t len)
{
	unsigned i = 0;

	while (i < QUEUE && l->tx_busy >> i & 1)
		i++;
	if (i == QUEUE)
		return false;
	memcpy(l->pair->tx[i], from, len);
	struct vio_buf b = { address(l, l->pair->tx[i]), len };
	if (!vio_drvq_add(&l->tx, &b, 1, 0, l->pair->tx[i]))
		return false;
	l->tx_busy |= (uint8_t)(1u << i);
	return true;
}

static unsigned index_of(const unsigned char (*buffers)[BYTES], const void *cookie)
{
	return (unsigned)(((const unsigned char *)cookie - buffers[0]) / BYTES);
}

static void was_sent(struct vio_console_line *l, const void *cookie)
{
	l->tx_busy &= (uint8_t)~(1u << index_of(l->pair->tx, cookie));
}

static void reclaim(struct vio_console_line *l)
{
	const void *cookie;
	uint32_t len;

	while ((cookie = vio_drvq_get(&l->tx, &len)))
		was_sent(l, cookie);
}

static bool start_queue(struct vio_console *c, uint16_t index, struct vio_console_line *l, struct vio_drvq *q, void *ring,
    struct vio_drvq_slot *slots)
{
	uint16_t size = c->drv.port->ops->queue_max(c->drv.port, index);

	if (size > QUEUE)
		size = QUEUE;
	while (!vio_drv_has(&c->drv, VIO_F_RING_PACKED) && size & (size - 1))
		size &= (uint16_t)(size - 1);		/* 2.7: a power of two */
	if (size == 0)
		return vio_drv_fail(&c->drv, "the device lacks a queue of a port that it says there can be");
	struct vio_drvq_setup setup = { .size = size, .features = c->drv.features, .ring = ring, .ring_addr = address(l, ring),
		.slots = slots };
	vio_drvq_init(q, &setup);
	return vio_drv_queue(&c->drv, index, q);
}

static bool start_line(struct vio_console *c, struct vio_console_line *l, struct vio_console_pair *pair, unsigned queue)
{
	const struct vio_platform *pf = platform(c);
	unsigned n = pf->ops->map(pf->arg, pair, sizeof *pair, VIO_BOTH_WAYS, &l->mapped, 1);

	if (n != 1 || l->mapped.len != sizeof *pair) {
		if (n)
			pf->ops->unmap(pf->arg, pair, sizeof *pair, VIO_BOTH_WAYS, &l->mapped, n);
		l->mapped.len = 0;
		return vio_drv_fail(&c->drv, "the memory of a port can't be mapped in one piece");
	}
	l->pair = pair;
	if (!start_queue(c, (uint16_t)queue, l, &l->rx, pair->rx_ring, l->rx_slots) ||
	    !start_queue(c, (uint16_t)(queue + 1), l, &l->tx, pair->tx_ring, l->tx_slots))
		return false;
	for (unsigned i = 0; i < l->rx.size; i++)
		give_back(l, i);
	return true;
}

static void end_line(struct vio_console *c, struct vio_console_line *l)
{
	const struct vio_platform *pf = platform(c);

	if (l->mapped.len)
		pf->ops->unmap(pf->arg, l->pair, sizeof *l->pair, VIO_BOTH_WAYS, &l->mapped, 1);
	l->mapped.len = 0;
}

/* ---- Control messages (5.3.6.2) ---- */

static bool say(struct vio_console *c, uint32_t id, uint16_t event, uint16_t value)
{
	struct vio_console_control m = { vio_le32_of(id), vio_le16_of(event), vio_le16_of(value) };

	reclaim(&c->control);
	if (!send(&c->control, &m, sizeof m))
		return false;
	vio_drv_kick(&c->drv, VIO_CONSOLE_Q_CONTROL_TX, &c->control.tx);
	return true;
}

/* Say what is owed; what there is no room for is owed on. */
static void pay(struct vio_console *c)
{
	if (c->owes_device_ready)
		c->owes_device_ready = !say(c, 0, VIO_CONSOLE_DEVICE_READY, 1);
	for (unsigned i = 0; i < c->ports && !c->owes_device_ready; i++) {
		struct vio_console_drv_port *p = &c->port[i];
		if (p->owes_ready)
			p->owes_ready = !say(c, i, VIO_CONSOLE_PORT_READY, 1);
		if (p->owes_open && !p->owes_ready)
			p->owes_open = !say(c, i, VIO_CONSOLE_PORT_OPEN, p->open);
	}
}

static bool port_added(struct vio_console *c, uint32_t id)
{
	if (id >= c->ports) {
		if (id < c->max_ports)
			say(c, id, VIO_CONSOLE_PORT_READY, 0);	/* more than there is room for here */
		return false;
	}
	struct vio_console_drv_port *p = &c->port[id];
	if (p->exists)
		return false;
	p->exists = p->owes_ready = true;
	p->console = p->host_open = p->open = p->owes_open = false;
	p->columns = p->rows = 0;
	p->name[0] = 0;
	return true;
}

static bool port_removed(struct vio_console *c, struct vio_console_drv_port *p)
{
	struct vio_console_line *l = &p->line;

	p->exists = p->open = p->host_open = p->owes_ready = p->owes_open = false;
	if (l->left)		/* what came from it and was not read */
		give_back(l, l->current);
	l->left = 0;
	vio_drv_kick(&c->drv, (uint16_t)vio_console_queue((uint32_t)(p - c->port)), &l->rx);
	return true;
}

static void resized(struct vio_console_drv_port *p, const unsigned char *more, uint32_t len)
{
	struct vio_console_resize r;

	if (len < sizeof r)
		return;
	memcpy(&r, more, sizeof r);
	p->columns = vio_le16_get(r.cols);
	p->rows = vio_le16_get(r.rows);
}

static void named(struct vio_console_drv_port *p, const unsigned char *more, uint32_t len)
{
	if (len > VIO_CONSOLE_DRV_NAME - 1)
		len = VIO_CONSOLE_DRV_NAME - 1;
	memcpy(p->name, more, len);
	p->name[len] = 0;
}

static bool hear(struct vio_console *c, const unsigned char *bytes, uint32_t len)
{
	struct vio_console_control m;

	if (len < sizeof m)
		return false;
	memcpy(&m, bytes, sizeof m);
	uint32_t id = vio_le32_get(m.id);
	if (vio_le16_get(m.event) == VIO_CONSOLE_DEVICE_ADD)
		return port_added(c, id);
	if (id >= c->ports || !c->port[id].exists)
		return false;
	struct vio_console_drv_port *p = &c->port[id];
	switch (vio_le16_get(m.event)) {
	case VIO_CONSOLE_DEVICE_REMOVE:
		return port_removed(c, p);
	case VIO_CONSOLE_CONSOLE_PORT:		/* 5.3.6.2: MUST respond with PORT_OPEN 1 */
		p->console = p->open = p->owes_open = true;
		return true;
	case VIO_CONSOLE_RESIZE:
		resized(p, bytes + sizeof m, len - (uint32_t)sizeof m);
		return true;
	case VIO_CONSOLE_PORT_OPEN:
		p->host_open = vio_le16_get(m.value) != 0;
		return true;
	case VIO_CONSOLE_PORT_NAME:
		named(p, bytes + sizeof m, len - (uint32_t)sizeof m);
		return true;
	}
	return false;
}

bool vio_console_work(struct vio_console *c)
{
	bool changed = false;
	unsigned char copy[BYTES];	/* the device may write on: what is judged must hold still */
	uint32_t len;

	if (!multiport(c) || !c->control.mapped.len)
		return false;
	for (unsigned n = 0; n < QUEUE; n++) {
		unsigned char *bytes = vio_drvq_get(&c->control.rx, &len);
		if (!bytes)
			break;
		memcpy(copy, bytes, len);
		give_back(&c->control, index_of(c->control.pair->rx, bytes));
		changed |= hear(c, copy, len);
	}
	vio_drv_kick(&c->drv, VIO_CONSOLE_Q_CONTROL_RX, &c->control.rx);
	pay(c);
	return changed;
}

/* ---- Ports ---- */

static struct vio_console_drv_port *port_at(struct vio_console *c, unsigned n)
{
	return n < c->ports && c->port[n].exists && c->drv.status ? &c->port[n] : NULL;
}

bool vio_console_open(struct vio_console *c, unsigned n, bool open)
{
	struct vio_console_drv_port *p = port_at(c, n);

	if (!p)
		return false;
	p->open = open;
	p->owes_open = multiport(c);
	pay(c);
	return true;
}

/* The next received buffer with something in it.  At most once round the queue: a device may give empty ones for ever. */
static bool next_buffer(struct vio_console_line *l)
{
	uint32_t len;

	for (unsigned n = 0; n < QUEUE && !l->left; n++) {
		const unsigned char *bytes = vio_drvq_get(&l->rx, &len);
		if (!bytes)
			return false;
		l->current = (uint8_t)index_of(l->pair->rx, bytes);
		l->at = bytes;
		l->left = len;
		if (!len)
			give_back(l, l->current);
	}
	return l->left;
}

uint32_t vio_console_read(struct vio_console *c, unsigned n, void *to, uint32_t len)
{
	struct vio_console_drv_port *p = port_at(c, n);
	uint32_t got = 0;

	while (p && got < len && (p->line.left || next_buffer(&p->line))) {
		struct vio_console_line *l = &p->line;
		uint32_t part = l->left < len - got ? l->left : len - got;
		memcpy((unsigned char *)to + got, l->at, part);
		got += part;
		l->at += part;
		l->left -= part;
		if (!l->left)
			give_back(l, l->current);
	}
	if (p)
		vio_drv_kick(&c->drv, (uint16_t)vio_console_queue(n), &p->line.rx);
	return got;
}

uint32_t vio_console_write(struct vio_console *c, unsigned n, const void *from, uint32_t len)
{
	struct vio_console_drv_port *p = port_at(c, n);
	uint32_t sent = 0;

	if (!p)
		return 0;
	reclaim(&p->line);
	while (sent < len) {
		uint32_t part = len - sent < BYTES ? len - sent : BYTES;
		if (!send(&p->line, (const unsigned char *)from + sent, part))
			break;
		sent += part;
	}
	vio_drv_kick(&c->drv, (uint16_t)(vio_console_queue(n) + 1), &p->line.tx);
	return sent;
}

bool vio_console_drain(struct vio_console *c, unsigned n)
{
	struct vio_console_drv_port *p = port_at(c, n);
	const struct vio_platform *pf = platform(c);
	uint64_t deadline = pf->ops->now_ns(pf->arg) + VIO_DRV_PATIENCE_NS;
	uint32_t len;

	while (p && p->line.tx_busy) {
		const void *cookie = vio_drv_get_wait(&c->drv, (uint16_t)(vio_console_queue(n) + 1), &p->line.tx, &len, deadline);
		if (!cookie)
			return false;
		was_sent(&p->line, cookie);
	}
	return p;
}

/* ---- Life ---- */

bool vio_console_config_changed(struct vio_console *c)
{
	vio_le16 columns, rows;

	if (!vio_drv_has(&c->drv, VIO_CONSOLE_F_SIZE))
		return true;
	if (!vio_drv_config(&c->drv, offsetof(struct vio_console_config, cols), &columns, sizeof columns) ||
	    !vio_drv_config(&c->drv, offsetof(struct vio_console_config, rows), &rows, sizeof rows))
		return false;
	c->port[0].columns = vio_le16_get(columns);
	c->port[0].rows = vio_le16_get(rows);
	return true;
}

static bool read_config(struct vio_console *c)
{
	vio_le32 max;

	c->ports = 1;
	c->max_ports = 1;
	if (multiport(c)) {
		if (!vio_drv_config(&c->drv, offsetof(struct vio_console_config, max_nr_ports), &max, sizeof max))
			return false;
		c->max_ports = vio_le32_get(max);
		c->ports = (uint16_t)(c->max_ports < VIO_CONSOLE_DRV_PORTS ? c->max_ports : VIO_CONSOLE_DRV_PORTS);
		if (c->ports == 0)
			return vio_drv_fail(&c->drv, "the device has no port at all");
	}
	return vio_console_config_changed(c);
}

static bool start(struct vio_console *c)
{
	if (!read_config(c))
		return false;
	for (unsigned i = 0; i < c->ports; i++)
		if (!start_line(c, &c->port[i].line, &c->pairs[i], vio_console_queue(i)))
			return false;
	if (multiport(c) && !start_line(c, &c->control, &c->pairs[VIO_CONSOLE_DRV_PORTS], VIO_CONSOLE_Q_CONTROL_RX))
		return false;
	if (!vio_drv_ready(&c->drv))
		return false;
	for (unsigned i = 0; i < c->ports; i++)
		vio_drv_kick(&c->drv, (uint16_t)vio_console_queue(i), &c->port[i].line.rx);
	if (multiport(c)) {
		vio_drv_kick(&c->drv, VIO_CONSOLE_Q_CONTROL_RX, &c->control.rx);
		c->owes_device_ready = true;		/* 5.3.6.2: MUST */
		pay(c);
	} else {
		c->port[0].exists = c->port[0].open = c->port[0].host_open = c->port[0].console = true;
	}
	return true;
}

bool vio_console_start(struct vio_console *c, struct vio_drv_port *port)
{
	memset(c, 0, sizeof *c);
	if (!vio_drv_begin(&c->drv, port, VIO_ID_CONSOLE, drives(), NULL))
		return false;
	if (start(c))
		return true;
	vio_console_stop(c);	/* the device must forget the rings before they are unmapped */
	return false;
}

bool vio_console_stop(struct vio_console *c)
{
	if (!vio_drv_reset(&c->drv))
		return false;
	for (unsigned i = 0; i < VIO_CONSOLE_DRV_PORTS; i++) {
		end_line(c, &c->port[i].line);
		c->port[i].exists = false;
	}
	end_line(c, &c->control);
	return true;
}

bool vio_console_emergency(struct vio_drv_port *port, unsigned char character)
{
	vio_le32 v = vio_le32_of(character);

	return vio_has(port->ops->features(port), VIO_CONSOLE_F_EMERG_WRITE) &&
	    port->ops->config_write(port, offsetof(struct vio_console_config, emerg_wr), &v, sizeof v);
}
