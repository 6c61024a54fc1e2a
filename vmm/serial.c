/*
 * A 16550 serial port for early words: what the guest writes goes to a descriptor, what comes there goes to the guest.
 *
 * Registers are answered in the vCPU's thread, under a lock; the home loop reads and writes the descriptors.  A reader who does not
 * read holds up neither vCPUs nor the loop: when the queue out is full the transmitter is not empty, as on a slow line.
 */
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <vmm/arch.h>
#include <vmm/kvm.h>

enum { RBR_THR, IER, IIR_FCR, LCR, MCR, LSR, MSR, SCR };
enum { IER_RX = 1, IER_TX = 2, IER_ALL = 15, LCR_DLAB = 0x80, LSR_DATA = 1, LSR_EMPTY = 0x60, MCR_LOOP = 0x10, MCR_ALL = 0x1f };
enum { IIR_NONE = 1, IIR_TX = 2, IIR_RX = 4, IIR_FIFO = 0xc0 };
enum { MSR_READY = 0xb0 };	/* carrier, data set ready, clear to send */
enum { OUT = 65536, IN = 4096, SOME = 512 };

struct vmm_serial {
	struct vmm *m;
	struct vmm_bus *bus;
	struct vmm_range range;
	pthread_mutex_t lock;
	uint8_t ier, lcr, mcr, scr, fcr, divisor[2];
	bool tx_due;			/* the interrupt for an empty transmitter has not been taken */
	unsigned in_at, in_count, out_at, out_count;
	uint8_t in[IN], out[OUT];
	/* The home loop's. */
	struct vio_watch from, to;
	struct vio_call flush;
	bool flush_sent, plain_out;	/* plain: a file, which can't be watched and never blocks for long */
};

/* ---- Under the lock ---- */

static uint8_t iir(const struct vmm_serial *s)
{
	if (s->ier & IER_RX && s->in_count)
		return IIR_RX;
	return s->ier & IER_TX && s->tx_due ? IIR_TX : IIR_NONE;
}

static void line(struct vmm_serial *s) { vmm_line(s->m, vmm_arch_map(s->m)->serial_line, 0, iir(s) != IIR_NONE); }

static void put(struct vmm_serial *s, uint8_t byte)
{
	if (s->mcr & MCR_LOOP) {
		if (s->in_count < IN)
			s->in[(s->in_at + s->in_count++) % IN] = byte;
		return;
	}
	if (s->out_count < OUT)
		s->out[(s->out_at + s->out_count++) % OUT] = byte;
	s->tx_due = true;
	if (!s->flush_sent) {
		s->flush_sent = true;
		vio_loop_call(s->m->o.home, &s->flush);
	}
}

static uint8_t get(struct vmm_serial *s)
{
	if (!s->in_count)
		return 0;
	uint8_t byte = s->in[s->in_at];
	s->in_at = (s->in_at + 1) % IN;
	s->in_count--;
	return byte;
}

static uint8_t read_register(struct vmm_serial *s, unsigned at)
{
	bool dlab = s->lcr & LCR_DLAB;
	uint8_t v;

	switch (at) {
	case RBR_THR: return dlab ? s->divisor[0] : get(s);
	case IER: return dlab ? s->divisor[1] : s->ier;
	case IIR_FCR:
		v = iir(s);
		if (v == IIR_TX)
			s->tx_due = false;
		return (uint8_t)(v | (s->fcr & 1 ? IIR_FIFO : 0));
	case LCR: return s->lcr;
	case MCR: return s->mcr;
	case LSR: return (uint8_t)((s->in_count ? LSR_DATA : 0) | (s->out_count < OUT ? LSR_EMPTY : 0));
	case MSR: return s->mcr & MCR_LOOP ? (uint8_t)((s->mcr & 2) << 3 | (s->mcr & 1) << 5 | (s->mcr & 12) << 4) : MSR_READY;
	default: return s->scr;
	}
}

static void write_register(struct vmm_serial *s, unsigned at, uint8_t v)
{
	bool dlab = s->lcr & LCR_DLAB;

	switch (at) {
	case RBR_THR:
		if (dlab)
			s->divisor[0] = v;
		else
			put(s, v);
		break;
	case IER:
		if (dlab) {
			s->divisor[1] = v;
			break;
		}
		s->tx_due |= v & ~s->ier & IER_TX;
		s->ier = v & IER_ALL;
		break;
	case IIR_FCR:
		s->fcr = v;
		if (v & 2)
			s->in_count = 0;
		break;
	case LCR: s->lcr = v; break;
	case MCR: s->mcr = v & MCR_ALL; break;
	case SCR: s->scr = v; break;
	default: break;
	}
}

/* ---- In vCPU threads ---- */

static uint64_t port_read(void *arg, uint64_t at, unsigned width)
{
	struct vmm_serial *s = arg;

	if (width != 1)
		return UINT64_MAX;
	pthread_mutex_lock(&s->lock);
	uint8_t v = read_register(s, (unsigned)at);
	line(s);
	pthread_mutex_unlock(&s->lock);
	return v;
}

static void port_write(void *arg, uint64_t at, unsigned width, uint64_t value)
{
	struct vmm_serial *s = arg;

	if (width != 1)
		return;
	pthread_mutex_lock(&s->lock);
	write_register(s, (unsigned)at, (uint8_t)value);
	line(s);
	pthread_mutex_unlock(&s->lock);
}
static const struct vmm_range_ops ops = { port_read, port_write };

/* ---- In the home loop ---- */

/* Some of what there is to write; false: no more can be written now. */
static bool write_some(struct vmm_serial *s)
{
	uint8_t some[SOME];
	unsigned n = 0;

	pthread_mutex_lock(&s->lock);
	while (n < SOME && n < s->out_count) {
		some[n] = s->out[(s->out_at + n) % OUT];
		n++;
	}
	s->flush_sent = n != 0;
	pthread_mutex_unlock(&s->lock);
	if (!n)
		return false;
	ssize_t done = s->to.fd >= 0 ? write(s->to.fd, some, n) : (ssize_t)n;
	if (done < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (done < 0)
		done = n;		/* nobody can read it any more */
	pthread_mutex_lock(&s->lock);
	s->out_at = (s->out_at + (unsigned)done) % OUT;
	s->out_count -= (unsigned)done;
	pthread_mutex_unlock(&s->lock);
	return true;
}

static void writable(struct vio_watch *w, uint32_t events)
{
	struct vmm_serial *s = w->arg;

	(void)events;
	if (!write_some(s) && !s->flush_sent)
		vio_loop_unwatch(s->m->o.home, w);
}

/* There is something to write: as soon as it can be. */
static void flush(void *arg)
{
	struct vmm_serial *s = arg;

	if (s->to.fd < 0 || s->plain_out || !vio_loop_watch(s->m->o.home, &s->to)) {
		s->plain_out = true;
		while (write_some(s))
			continue;
	}
}

static void readable(struct vio_watch *w, uint32_t events)
{
	struct vmm_serial *s = w->arg;
	uint8_t some[SOME];

	(void)events;
	pthread_mutex_lock(&s->lock);
	unsigned room = IN - s->in_count;
	pthread_mutex_unlock(&s->lock);
	ssize_t n = read(w->fd, some, room < SOME && room ? room : SOME);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		vio_loop_unwatch(s->m->o.home, w);
		return;
	}
	pthread_mutex_lock(&s->lock);	/* what there is no room for is lost, as on a line without flow control */
	for (ssize_t i = 0; i < n && s->in_count < IN; i++)
		s->in[(s->in_at + s->in_count++) % IN] = some[i];
	line(s);
	pthread_mutex_unlock(&s->lock);
}

struct vmm_serial *vmm_serial_open(struct vmm *m, int in, int out, char *why)
{
	const struct vmm_map *map = vmm_arch_map(m);
	struct vmm_serial *s = calloc(1, sizeof *s);

	if (!s) {
		vio_refuse(why, "there is no memory for the machine");
		return NULL;
	}
	s->m = m;
	s->bus = map->ports ? &m->ports : &m->addresses;
	pthread_mutex_init(&s->lock, NULL);
	s->range = (struct vmm_range){ .base = map->serial, .bytes = 8, .ops = &ops, .arg = s };
	s->from = (struct vio_watch){ .fd = in, .events = EPOLLIN, .ready = readable, .arg = s };
	s->to = (struct vio_watch){ .fd = out, .events = EPOLLOUT, .ready = writable, .arg = s };
	s->flush = (struct vio_call){ .fn = flush, .arg = s };
	if (in >= 0)
		vio_loop_watch(m->o.home, &s->from);	/* a file can't be watched, and has nothing to say */
	vmm_bus_add(s->bus, &s->range);
	return s;
}

void vmm_serial_close(struct vmm_serial *s)
{
	if (!s)
		return;
	while (write_some(s))		/* vCPUs are gone; a reader who does not read has lost the rest */
		continue;
	if (s->from.on)
		vio_loop_unwatch(s->m->o.home, &s->from);
	if (s->to.on)
		vio_loop_unwatch(s->m->o.home, &s->to);
	vmm_bus_remove(s->bus, &s->range);
	free(s);
}

void vmm_serial_reset(struct vmm_serial *s) { vmm_serial_load(s, (const uint8_t[VMM_SERIAL_STATE]){ 0 }); }

void vmm_serial_save(struct vmm_serial *s, uint8_t state[VMM_SERIAL_STATE])
{
	pthread_mutex_lock(&s->lock);
	const uint8_t now[VMM_SERIAL_STATE] = { s->ier, s->lcr, s->mcr, s->scr, s->fcr, s->divisor[0], s->divisor[1], s->tx_due };
	memcpy(state, now, sizeof now);
	pthread_mutex_unlock(&s->lock);
}

void vmm_serial_load(struct vmm_serial *s, const uint8_t state[VMM_SERIAL_STATE])
{
	pthread_mutex_lock(&s->lock);
	s->ier = state[0] & IER_ALL;
	s->lcr = state[1];
	s->mcr = state[2] & MCR_ALL;
	s->scr = state[3];
	s->fcr = state[4];
	s->divisor[0] = state[5];
	s->divisor[1] = state[6];
	s->tx_due = state[7] & 1;
	line(s);
	pthread_mutex_unlock(&s->lock);
}
