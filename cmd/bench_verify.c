/*
 * The load that knows what it wrote: every block is written with a pattern of its sector and a generation, read back into
 * a spoiled buffer and compared; at the end every block that was ever written is read once more, which finds what went
 * astray.  Each request has blocks of its own, so that no two are in flight for one block.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bench.h"

static uint64_t pattern(uint64_t sector, uint32_t generation, uint32_t word)
{
	uint64_t x = (sector << 24) ^ ((uint64_t)generation << 8) ^ word;
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

/* A sector begins with its number and generation in clear, so that a mismatch can be explained. */
static uint64_t word_of(uint64_t sector, uint32_t generation, uint32_t word)
{
	return word == 0 ? sector : word == 1 ? generation : pattern(sector, generation, word);
}

enum { WORDS = VIO_BLK_SECTOR / 8 };

static void fill(void *to, uint64_t sector, uint32_t sectors, uint32_t generation)
{
	uint64_t *p = to;
	for (uint32_t s = 0; s < sectors; s++)
		for (uint32_t i = 0; i < WORDS; i++)
			*p++ = word_of(sector + s, generation, i);
}

static void compare(struct bench_worker *w, const struct vio_blk_request *r, uint32_t generation)
{
	const uint64_t *p = r->data;
	for (uint32_t s = 0; s < r->len / VIO_BLK_SECTOR; s++, p += WORDS)
		for (uint32_t i = 0; i < WORDS; i++) {
			if (p[i] == word_of(r->sector + s, generation, i))
				continue;
			if (w->mismatches++ == 0)
				snprintf(w->first_error, sizeof w->first_error,
				    "sector %llu generation %u is wrong in word %u: it begins with sector %llu generation %llu",
				    (unsigned long long)(r->sector + s), generation, i, (unsigned long long)p[0],
				    (unsigned long long)p[1]);
			return;
		}
	w->verified++;
}

static void send(struct bench_worker *w, uint32_t i, uint32_t type)
{
	struct vio_blk_request *r = &w->request[i];
	struct bench_slot *s = &w->slot[i];
	uint32_t sectors = w->o->bs / VIO_BLK_SECTOR;

	r->type = type;
	r->sector = (w->first_block + s->block) * sectors;
	r->data = bench_buffer(w, i);
	s->reading = type == VIO_BLK_T_IN;
	if (s->reading)
		memset(r->data, 0xa5, r->len);
	else
		fill(r->data, r->sector, sectors, s->generation);
	r->cookie = (void *)(uintptr_t)bench_ticks();
	if (vio_blk_submit(w->blk, w->queue, r)) {
		w->inflight++;
		return;
	}
	if (w->errors++ == 0)
		snprintf(w->first_error, sizeof w->first_error, "sector %llu: not taken", (unsigned long long)r->sector);
}

/* Blocks i, i + qd, i + 2 qd... are request i's. */
static void send_next_write(struct bench_worker *w, uint32_t i)
{
	uint64_t own = w->blocks / w->o->qd, n;
	n = w->o->rw == BENCH_RANDWRITE ? bench_random(w, own) : (w->slot[i].block / w->o->qd + 1) % own;
	w->slot[i].block = n * w->o->qd + i;
	w->slot[i].generation = ++w->generation[w->slot[i].block];
	send(w, i, VIO_BLK_T_OUT);
}

/* The next block of request i's that was ever written; false: no more. */
static bool send_next_read(struct bench_worker *w, uint32_t i, uint64_t from)
{
	for (uint64_t b = from; b < w->blocks; b += w->o->qd)
		if (w->generation[b]) {
			w->slot[i] = (struct bench_slot){ .block = b, .generation = w->generation[b] };
			send(w, i, VIO_BLK_T_IN);
			return true;
		}
	return false;
}

static void finish(struct bench_worker *w, struct vio_blk_request *r, bool final, bool more)
{
	uint32_t i = (uint32_t)(r - w->request);
	struct bench_slot *s = &w->slot[i];
	uint64_t took = bench_ticks() - (uintptr_t)r->cookie;

	w->inflight--;
	if (!final) {
		w->ops++;
		w->histogram[bench_bucket(took)]++;
		if (took > w->max_ticks)
			w->max_ticks = took;
	}
	if (r->status != VIO_BLK_S_OK) {
		if (w->errors++ == 0)
			snprintf(w->first_error, sizeof w->first_error, "sector %llu: status %u",
			    (unsigned long long)r->sector, r->status);
		s->generation = w->generation[s->block] = 0;	/* nobody can say what it holds */
	} else if (s->reading) {
		compare(w, r, s->generation);
	}
	if (final)
		send_next_read(w, i, s->block + w->o->qd);
	else if (!s->reading && s->generation)
		send(w, i, VIO_BLK_T_IN);
	else if (more)
		send_next_write(w, i);
}

/* Serves until nothing is in flight; new writes begin until the time given. */
static void serve(struct bench_worker *w, struct pollfd *call, bool final, uint64_t until)
{
	uint64_t deadline = bench_ticks() + 60 * w->run_ticks + 600 * w->warm_ticks;
	uint32_t idle = 0;

	while (w->inflight) {
		struct vio_blk_request *r;
		uint32_t n = 0;
		uint64_t now = bench_ticks();
		while (n < w->o->qd && (r = vio_blk_poll(w->blk, w->queue))) {
			finish(w, r, final, now < until);
			n++;
		}
		if (n)
			vio_blk_kick(w->blk, w->queue);
		else if (!bench_wait(w, call, &idle) || now > deadline)
			return;
	}
}

void *bench_verify(void *arg)
{
	struct bench_worker *w = arg;
	struct pollfd call = { .fd = vio_vhost_call_fd(w->front, w->vq), .events = POLLIN };
	uint64_t from;

	bench_pin(w);
	vio_drvq_quiet(w->q);
	from = bench_ticks();
	for (uint32_t i = 0; i < w->o->qd; i++) {
		w->slot[i].block = i;
		send_next_write(w, i);
	}
	vio_blk_kick(w->blk, w->queue);
	serve(w, &call, false, from + w->run_ticks);
	w->ticks = bench_ticks() - from;
	w->waited_ns = bench_waited_ns();

	if (!w->inflight) {
		for (uint32_t i = 0; i < w->o->qd; i++)
			send_next_read(w, i, i);
		vio_blk_kick(w->blk, w->queue);
		serve(w, &call, true, 0);
	}
	bench_end(w);
	return NULL;
}
