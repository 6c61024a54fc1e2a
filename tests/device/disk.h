/*
 * A disk for tests that remembers what it was asked.  Its bytes stand between guard pages.  Told to hold, it does nothing
 * until it is released or the request cancelled.
 */
#ifndef VIO_TESTS_DEVICE_DISK_H
#define VIO_TESTS_DEVICE_DISK_H
#include <errno.h>
#include <vio/backend/disk.h>
#include "rig.h"

enum { ASKED = 256 };
struct asked { enum vio_disk_op op; bool durable, may_unmap; uint64_t offset, length; unsigned queue; };

struct test_disk {
	struct vio_disk disk;
	unsigned char *bytes;
	uint64_t room;			/* bytes there are; disk.size may be less */
	struct asked asked[ASKED];	/* the last ones, from 0 after forget() */
	unsigned count;
	bool hold;
	bool stubborn;			/* cancel does not help */
	int error;			/* of everything, when not 0 */
	struct vio_disk_io *held[ASKED];
	unsigned held_count;
	unsigned channels, flushes, polls, cancels;
	bool no_channel;
};

struct test_chan { struct vio_disk_chan chan; struct test_disk *disk; unsigned queue; };

static inline void test_disk_do(struct test_disk *t, struct vio_disk_io *io)
{
	assert(io->offset <= t->room && io->length <= t->room - io->offset);
	if (!t->error) {
		switch (io->op) {
		case VIO_DISK_READ:
			assert(io->bytes.left == io->length);
			vio_cur_put(&io->bytes, t->bytes + io->offset, io->length);
			break;
		case VIO_DISK_WRITE:
			assert(io->bytes.left == io->length);
			vio_cur_get(&io->bytes, t->bytes + io->offset, io->length);
			break;
		case VIO_DISK_ZERO:
			memset(t->bytes + io->offset, 0, io->length);
			break;
		case VIO_DISK_DISCARD:
			memset(t->bytes + io->offset, 0xdd, io->length);
			break;
		case VIO_DISK_ERASE:
			memset(t->bytes + io->offset, 0xee, io->length);
			break;
		case VIO_DISK_FLUSH:
		case VIO_DISK_ZONE:
			break;
		}
	}
	io->done(io, t->error);
}

static inline void test_disk_submit(struct vio_disk_chan *c, struct vio_disk_io *io)
{
	struct test_disk *t = ((struct test_chan *)c)->disk;

	if (t->count < ASKED)
		t->asked[t->count++] = (struct asked){ io->op, io->durable, io->may_unmap, io->offset, io->length,
			((struct test_chan *)c)->queue };
	if (t->hold)
		t->held[t->held_count++] = io;
	else
		test_disk_do(t, io);
}

static inline void test_disk_flush(struct vio_disk_chan *c) { ((struct test_chan *)c)->disk->flushes++; }
static inline void test_disk_poll(struct vio_disk_chan *c) { ((struct test_chan *)c)->disk->polls++; }

static inline void test_disk_cancel(struct vio_disk_chan *c, struct vio_disk_io *io)
{
	struct test_disk *t = ((struct test_chan *)c)->disk;

	t->cancels++;
	for (unsigned i = 0; i < t->held_count && !t->stubborn; i++)
		if (t->held[i] == io) {
			t->held[i] = t->held[--t->held_count];
			io->done(io, ECANCELED);
			return;
		}
}

static inline void test_disk_chan_close(struct vio_disk_chan *c)
{
	((struct test_chan *)c)->disk->channels--;
	free(c);
}

static const struct vio_disk_chan_ops test_chan_ops = {
	.submit = test_disk_submit, .flush = test_disk_flush, .cancel = test_disk_cancel, .poll = test_disk_poll,
	.close = test_disk_chan_close,
};

static inline struct vio_disk_chan *test_disk_channel(struct vio_disk *d, unsigned queue)
{
	struct test_disk *t = (struct test_disk *)d;
	struct test_chan *c = t->no_channel ? NULL : calloc(1, sizeof *c);

	if (!c)
		return NULL;
	*c = (struct test_chan){ { &test_chan_ops }, t, queue };
	t->channels++;
	return &c->chan;
}

static inline void test_disk_close(struct vio_disk *d)
{
	struct test_disk *t = (struct test_disk *)d;

	assert(t->channels == 0 && t->held_count == 0);
	unguard(t->bytes, t->room);
	free(t);
}

static const struct vio_disk_ops test_disk_ops = { .channel = test_disk_channel, .close = test_disk_close };

static inline unsigned char pattern(uint64_t at) { return (unsigned char)(at * 7 + at / 512 * 13 + 1); }

static inline struct test_disk *test_disk_new(uint64_t size)
{
	struct test_disk *t = calloc(1, sizeof *t);

	assert(t);
	t->bytes = guarded(size);
	t->room = size;
	for (uint64_t i = 0; i < size; i++)
		t->bytes[i] = pattern(i);
	t->disk = (struct vio_disk){
		.ops = &test_disk_ops, .size = size, .logical_block = 512, .physical_block = 4096, .optimal_io = 65536,
		.can_discard = true, .can_zero = true, .zero_may_unmap = true, .can_erase = true, .discard_align = 4096,
		.has_lifetime = true, .pre_eol = 2, .life_a = 3, .life_b = 11,
	};
	return t;
}

static inline void test_disk_forget(struct test_disk *t) { t->count = t->flushes = t->polls = t->cancels = 0; }

/* Finish what is held, the last first: nothing promises an order. */
static inline void test_disk_release(struct test_disk *t)
{
	while (t->held_count)
		test_disk_do(t, t->held[--t->held_count]);
}
#endif
