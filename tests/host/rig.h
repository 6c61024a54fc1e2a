/*
 * What the disk tests share: a channel with its loop, requests over memory cut into odd pieces, a random sequence.
 *
 * Pieces stand apart from each other, with bytes between them that nobody may touch, and their list in short blocks
 * that are linked (VIO_SEG_LINK).
 */
#ifndef VIO_TESTS_HOST_RIG_H
#define VIO_TESTS_HOST_RIG_H
#include <vio/host/disk.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <tests/test.h>

enum { RIG_BLOCK = 5, RIG_GAP = 0xee };

struct rig {
	struct vio_loop *loop;
	struct vio_disk *disk;
	struct vio_disk_chan *chan;
	unsigned in_flight;
	bool settling;
	uint32_t random;
};

struct rig_io {
	struct vio_disk_io io;
	struct rig *rig;
	unsigned ended;			/* how often done() came */
	int error;
	unsigned char *memory;		/* pieces and gaps */
	size_t memory_bytes;
	struct vio_seg *segs;
};

static inline uint32_t rig_random(struct rig *r, uint32_t below)
{
	r->random = r->random * 1664525u + 1013904223u;
	return below ? (uint32_t)(((uint64_t)r->random * below) >> 32) : 0;
}

static inline struct vio_disk_place rig_place(struct rig *r)
{
	return (struct vio_disk_place){ &r->loop, 1 };
}

/* A loop first, then a disk in its place, then the channel. */
static inline void rig_init(struct rig *r)
{
	*r = (struct rig){ .loop = vio_loop_new(), .random = 1 };
	assert_non_null(r->loop);
}

static inline void rig_use(struct rig *r, struct vio_disk *d)
{
	assert_non_null(d);
	r->disk = d;
	r->chan = d->ops->channel(d, 0);
	assert_non_null(r->chan);
}

static inline void rig_end(struct rig *r)
{
	assert_int_equal(r->in_flight, 0);
	if (r->chan)
		r->chan->ops->close(r->chan);
	vio_disk_close(r->disk);
	vio_loop_free(r->loop);
}

static inline void rig_done(struct vio_disk_io *io, int error)
{
	struct rig_io *q = (struct rig_io *)io;

	q->ended++;
	q->error = error;
	if (--q->rig->in_flight == 0 && q->rig->settling)
		vio_loop_quit(q->rig->loop);
}

static inline void rig_submit(struct rig *r, struct rig_io *q)
{
	q->rig = r;
	q->io.done = rig_done;
	r->in_flight++;
	r->chan->ops->submit(r->chan, &q->io);
}

/* Everything submitted is done after this. */
static inline void rig_settle(struct rig *r)
{
	r->settling = true;
	if (r->chan->ops->flush)
		r->chan->ops->flush(r->chan);
	while (r->in_flight)		/* again: a quit of before may end the first run */
		vio_loop_run(r->loop);
	r->settling = false;
}

/* How long the next piece is: a multiple of align, but for the last. */
static inline size_t rig_piece(struct rig *r, size_t left, size_t align, size_t longest)
{
	size_t piece = align * (1 + rig_random(r, (uint32_t)(longest / align)));

	return piece < left ? piece : left;
}

/* Cut n bytes into pieces; align 1 cuts anywhere, otherwise at multiples, at addresses that are multiples too. */
static inline void rig_cut(struct rig *r, struct rig_io *q, size_t n, size_t align, size_t longest)
{
	uint32_t random = r->random;
	size_t pieces = 0, at = 0, i = 0;

	for (size_t left = n; left; pieces++)
		left -= rig_piece(r, left, align, longest);
	r->random = random;		/* the same again, for good */
	q->memory_bytes = (n + (pieces + 1) * align + 4095) & ~(size_t)4095;
	q->memory = aligned_alloc(4096, q->memory_bytes);
	q->segs = malloc((pieces + pieces / (RIG_BLOCK - 1) + 1) * sizeof *q->segs);
	assert_true(q->memory && q->segs);
	memset(q->memory, RIG_GAP, q->memory_bytes);
	for (size_t left = n; left; i++) {
		size_t piece = rig_piece(r, left, align, longest);
		if (i % RIG_BLOCK == RIG_BLOCK - 1) {
			q->segs[i] = (struct vio_seg){ &q->segs[i + 1], VIO_SEG_LINK };
			i++;
		}
		at += align;
		q->segs[i] = (struct vio_seg){ q->memory + at, piece };
		at += piece;
		left -= piece;
	}
	q->io.bytes = (struct vio_cur){ .seg = q->segs, .left = n };
	q->io.length = n;
}

/* Copy between the pieces and flat bytes. */
static inline void rig_fill(struct rig_io *q, const void *from)
{
	struct vio_cur c = { .seg = q->segs, .left = q->io.length };

	vio_cur_put(&c, from, q->io.length);
}
static inline void rig_take(struct rig_io *q, void *to)
{
	struct vio_cur c = { .seg = q->segs, .left = q->io.length };

	vio_cur_get(&c, to, q->io.length);
}

/* Nobody has written between the pieces. */
static inline bool rig_gaps_whole(const struct rig_io *q)
{
	const unsigned char *at = q->memory;
	size_t left = q->io.length;

	for (const struct vio_seg *s = q->segs; left; s++) {
		if (s->len == VIO_SEG_LINK)
			continue;
		for (; at < (unsigned char *)s->base; at++)
			if (*at != RIG_GAP)
				return false;
		at += s->len;
		left -= s->len;
	}
	for (; at < q->memory + q->memory_bytes; at++)
		if (*at != RIG_GAP)
			return false;
	return true;
}

static inline void rig_free(struct rig_io *q)
{
	free(q->memory);
	free(q->segs);
	memset(q, 0, sizeof *q);
}

/* One request and its end; the error. */
static inline int rig_range(struct rig *r, enum vio_disk_op op, uint64_t offset, uint64_t length)
{
	struct rig_io q = { .io = { .op = op, .offset = offset, .length = length } };

	rig_submit(r, &q);
	rig_settle(r);
	assert_int_equal(q.ended, 1);
	return q.error;
}

static inline int rig_move(struct rig *r, enum vio_disk_op op, uint64_t offset, void *bytes, size_t n)
{
	struct vio_seg seg = { bytes, n };
	struct rig_io q = { .io = { .op = op, .offset = offset, .length = n, .bytes = { .seg = &seg, .left = n } } };

	rig_submit(r, &q);
	rig_settle(r);
	assert_int_equal(q.ended, 1);
	return q.error;
}

/* An image file in folder (which ends in /): its name is the caller's to unlink. */
static inline int rig_image(char *name, size_t room, const char *folder, uint64_t size)
{
	snprintf(name, room, "%svio-test-XXXXXX", folder);
	int fd = mkstemp(name);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	return fd;
}

/*
 * A loop device over the file, which ends with the last descriptor of it; the one given here is open for writing.  -1:
 * this machine has none for us.
 */
static inline int rig_device(int file, char *name, size_t room)
{
	struct loop_info64 info = { .lo_flags = LO_FLAGS_AUTOCLEAR };
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	int n = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE);

	if (control >= 0)
		close(control);
	if (n < 0)
		return -1;
	snprintf(name, room, "/dev/loop%d", n);
	int fd = open(name, O_RDWR | O_CLOEXEC);
	if (fd >= 0 && (ioctl(fd, LOOP_SET_FD, file) < 0 || ioctl(fd, LOOP_SET_STATUS64, &info) < 0)) {
		close(fd);
		return -1;
	}
	return fd;
}
#endif
