/* What register files of different wires have in common: not for users of the library. */
#ifndef VIO_TRANSPORT_REGISTERS_H
#define VIO_TRANSPORT_REGISTERS_H
#include <vio/transport/owner.h>

/* The port's functions that are the owner's; used() and config() are the wire's. */
static inline void vio_wire_wake(void *arg, unsigned queue)
{
	const struct vio_wire *w = arg;
	w->owner->wake(w->arg, queue);
}

static inline void vio_wire_broken(void *arg, unsigned queue, const char *why)
{
	const struct vio_wire *w = arg;
	if (w->owner->broken)
		w->owner->broken(w->arg, queue, why);
}

static inline uint64_t vio_wire_now(void *arg)
{
	const struct vio_wire *w = arg;
	return w->owner->now ? w->owner->now(w->arg) : 0;
}

static inline void vio_wire_alarm(void *arg, unsigned queue, uint64_t at_ns)
{
	const struct vio_wire *w = arg;
	if (w->owner->alarm)
		w->owner->alarm(w->arg, queue, at_ns);
}

static inline void vio_wire_post(void *arg, unsigned queue, struct vio_dev_call *c)
{
	const struct vio_wire *w = arg;
	w->owner->post(w->arg, queue, c);
}

static inline void *vio_wire_alloc(void *arg, size_t bytes)
{
	const struct vio_wire *w = arg;
	return w->owner->alloc(w->arg, bytes);
}

static inline void vio_wire_free(void *arg, void *p, size_t bytes)
{
	const struct vio_wire *w = arg;
	w->owner->free(w->arg, p, bytes);
}

#define VIO_WIRE_PORT .wake = vio_wire_wake, .broken = vio_wire_broken, .now = vio_wire_now, .alarm = vio_wire_alarm, \
	.post = vio_wire_post, .alloc = vio_wire_alloc, .free = vio_wire_free

static inline uint32_t vio_half(uint64_t v, bool high) { return (uint32_t)(high ? v >> 32 : v); }

static inline void vio_set_half(uint64_t *to, bool high, uint32_t v)
{
	*to = high ? (*to & UINT32_MAX) | (uint64_t)v << 32 : (*to & ~(uint64_t)UINT32_MAX) | v;
}

/* 32 feature bits from 32 * sel; none beyond the last. */
static inline uint32_t vio_feature_word(struct vio_features f, uint32_t sel)
{
	return sel < VIO_F_LIMIT / 32 ? vio_half(f.word[sel / 2], sel & 1) : 0;
}

static inline void vio_set_feature_word(struct vio_features *f, uint32_t sel, uint32_t v)
{
	if (sel < VIO_F_LIMIT / 32)
		vio_set_half(&f->word[sel / 2], sel & 1, v);
}

/* A queue is on its way to its end, and its driver has not been told that it is there. */
static inline bool vio_queue_ending(const struct vio_dev *d, const struct vio_dev_queue *q)
{
	return q->leaving || (d->pending == VIO_PENDING_RESET && q->live && q->state == VIO_QUEUE_STOPPING);
}
#endif
