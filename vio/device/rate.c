/*
 * Rates, and how long requests take: what the operator allows and measures of a device, whatever its type.
 *
 * A rate is one word, the time at which all that was done is paid off: each request moves it on by its price, and while it
 * lies in the future nothing is popped.  It never lies further back than burst_ns, which is how much idle time is worth.
 * All queues of a device add to the same word, from their own threads, so a limit holds for the device and not a queue.
 * Counting happens once a turn, from counters that exist anyway; a request in the middle of a turn costs nothing.
 */
#include <vio/device/admin.h>
#include <vio/device/rate.h>

#define SECOND UINT64_C(1000000000)
enum { CAREFUL_TURN = 8 };	/* chains of a turn where bytes count: what one is worth is known afterwards */

/* n * SECOND / per_second without overflow; a price of centuries is a century. */
static uint64_t price(uint64_t n, uint64_t per_second)
{
	uint64_t seconds = n / per_second, rest = n % per_second;

	if (seconds > UINT32_MAX)
		return UINT32_MAX * SECOND;
	return seconds * SECOND + (rest >> 34 ? rest / (per_second / SECOND) : rest * SECOND / per_second);
}

static void alarm_due(struct vio_devq *q)
{
	struct vio_dev *d = q->dev;
	const struct vio_dev_queue *dq = &d->queue[q->index];
	uint64_t at = dq->alarm_rate;

	if (!at || (dq->alarm_type && dq->alarm_type < at))
		at = dq->alarm_type;
	if (d->port->alarm)
		d->port->alarm(d->port_arg, q->index, at ? at : UINT64_MAX);
}

void vio_dev_alarm(struct vio_devq *q, uint64_t at_ns)
{
	struct vio_dev *d = q->dev;

	d->queue[q->index].alarm_type = at_ns == UINT64_MAX ? 0 : at_ns;
	alarm_due(q);
}

static bool counts(const struct vio_dev *d, const struct vio_devq *q)
{
	if (vio_dev_is_admin(d, q->index))
		return false;
	return !d->type->unlimited || !d->type->unlimited(d, q->index);
}

bool vio_dev_rate_allows(struct vio_dev *d, struct vio_devq *q)
{
	struct vio_dev_queue *dq = &d->queue[q->index];
	uint64_t now = vio_dev_now(d), until = 0;

	if (!counts(d, q))
		return true;
	if (!dq->charged.on) {	/* what was done without limits is nobody's debt */
		dq->charged.on = true;
		dq->charged.chains = q->stats.chains;
		dq->charged.bytes = q->stats.bytes_r + q->stats.bytes_w;
	}
	for (unsigned i = 0; i < VIO_RATES; i++) {
		const struct vio_dev_rate *r = &d->rate[i];
		uint64_t per_second = __atomic_load_n(&r->per_second, __ATOMIC_RELAXED);
		uint64_t paid = __atomic_load_n(&r->paid, __ATOMIC_RELAXED);
		if (!per_second)
			continue;
		if (paid > now) {
			until = paid > until ? paid : until;
			continue;
		}
		uint64_t kept = now - paid, most = __atomic_load_n(&r->burst_ns, __ATOMIC_RELAXED);
		uint64_t one = price(1, per_second);
		uint64_t ops = i == VIO_RATE_BYTES || !one ? CAREFUL_TURN : (kept < most ? kept : most) / one + 1;
		if (ops < q->turn)
			q->turn = (uint32_t)ops;
	}
	bool was = dq->alarm_rate;
	dq->alarm_rate = until;
	if (until || was)
		alarm_due(q);
	if (until)
		q->why_empty = VIO_WAIT_RATE;
	return !until;
}

void vio_dev_rate_end(struct vio_dev *d, struct vio_devq *q)
{
	struct vio_dev_queue *dq = &d->queue[q->index];

	dq->charged.on = false;
	dq->alarm_rate = 0;
	alarm_due(q);
}

static void charge(struct vio_dev_rate *r, uint64_t n, uint64_t now)
{
	uint64_t per_second = __atomic_load_n(&r->per_second, __ATOMIC_RELAXED);
	uint64_t paid = __atomic_load_n(&r->paid, __ATOMIC_RELAXED), next;

	if (!per_second || !n)
		return;
	uint64_t burst = __atomic_load_n(&r->burst_ns, __ATOMIC_RELAXED), floor = now > burst ? now - burst : 0;
	do
		next = (paid > floor ? paid : floor) + price(n, per_second);
	while (!__atomic_compare_exchange_n(&r->paid, &paid, next, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
}

void vio_dev_rate_charge(struct vio_dev *d, struct vio_devq *q)
{
	struct vio_dev_queue *dq = &d->queue[q->index];
	uint64_t chains = q->stats.chains, bytes = q->stats.bytes_r + q->stats.bytes_w, now = vio_dev_now(d);

	charge(&d->rate[VIO_RATE_OPS], chains - dq->charged.chains, now);
	charge(&d->rate[VIO_RATE_BYTES], bytes - dq->charged.bytes, now);
	dq->charged.chains = chains;
	dq->charged.bytes = bytes;
}

void vio_dev_set_rate(struct vio_dev *d, unsigned rate, uint64_t per_second, uint64_t burst)
{
	struct vio_dev_rate *r = &d->rate[rate];
	bool any = false;

	if (!burst)
		burst = per_second / 10;
	__atomic_store_n(&r->burst_ns, per_second ? price(burst, per_second) : 0, __ATOMIC_RELAXED);
	__atomic_store_n(&r->paid, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&r->per_second, per_second, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < VIO_RATES; i++)
		any |= d->rate[i].per_second != 0;
	__atomic_store_n(&d->limited, any, __ATOMIC_RELAXED);
}

void vio_dev_hold(struct vio_dev *d, bool held) { __atomic_store_n(&d->held, held, __ATOMIC_RELAXED); }

uint32_t vio_dev_queue_depth(const struct vio_dev *d, unsigned i)
{
	return __atomic_load_n(&d->queue[i].ring.inflight, __ATOMIC_RELAXED);
}

/*
 * Between turns what the last one left in flight takes time: what ends meanwhile brings on the next turn.  In a turn that,
 * and what it pops, which is counted from the turn's beginning: it was there already.
 */
void vio_dev_time_turn(struct vio_dev *d, struct vio_devq *q, bool begins)
{
	struct vio_dev_queue *dq = &d->queue[q->index];
	uint64_t now = vio_dev_now(d), passed = dq->area_at ? now - dq->area_at : 0;
	uint64_t there = dq->area_inflight + (begins ? 0 : q->stats.chains - dq->area_chains);

	__atomic_store_n(&dq->area_ns, dq->area_ns + there * passed, __ATOMIC_RELAXED);
	dq->area_at = now;
	dq->area_inflight = q->inflight;
	dq->area_chains = q->stats.chains;
}
