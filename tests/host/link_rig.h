/*
 * What the tests of links share: a lane's user that keeps what it is delivered, and frames over memory cut into pieces.
 */
#ifndef VIO_TESTS_HOST_LINK_RIG_H
#define VIO_TESTS_HOST_LINK_RIG_H
#include <vio/host/link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <tests/test.h>

enum { GOT = 64 };
struct got { struct vio_frame frame; uint32_t length; unsigned char *bytes; };

struct user {
	struct vio_loop *loop;		/* to quit when something happens, or NULL */
	struct vio_link_lane *lane;
	struct got got[GOT];
	unsigned count;			/* of got */
	unsigned refuse_after;		/* deliveries that are taken */
	unsigned ready;			/* calls */
};

static inline bool user_deliver(void *arg, const struct vio_frame *f, struct vio_cur bytes)
{
	struct user *u = arg;
	if (!u->refuse_after)
		return false;
	u->refuse_after--;
	struct got *g = &u->got[u->count % GOT];
	free(g->bytes);
	*g = (struct got){ .frame = *f, .length = (uint32_t)bytes.left, .bytes = malloc(bytes.left ? bytes.left : 1) };
	assert_true(vio_cur_get(&bytes, g->bytes, bytes.left));
	u->count++;
	return true;
}

static inline void user_ready(void *arg)
{
	struct user *u = arg;
	u->ready++;
	if (u->loop)
		vio_loop_quit(u->loop);
}

static inline void user_open(struct user *u, struct vio_link *l, unsigned pair, struct vio_loop *loop)
{
	*u = (struct user){ .loop = loop, .lane = l->ops->lane(l, pair), .refuse_after = ~0u };
	assert_non_null(u->lane);
	u->lane->deliver = user_deliver;
	u->lane->ready = user_ready;
	u->lane->arg = u;
	if (u->lane->ops->enable)
		u->lane->ops->enable(u->lane, true);
}

static inline void user_forget(struct user *u)
{
	for (unsigned i = 0; i < GOT; i++)
		free(u->got[i].bytes);
	memset(u->got, 0, sizeof u->got);
	u->count = 0;
}

static inline void user_close(struct user *u)
{
	if (u->lane->ops->enable)
		u->lane->ops->enable(u->lane, false);
	u->lane->ops->close(u->lane);
	user_forget(u);
}

static inline void user_flush(struct user *u)
{
	if (u->lane->ops->flush)
		u->lane->ops->flush(u->lane);
}

/* n bytes cut into pieces of at most longest, each in a block of its own, so that a sanitizer sees who goes too far. */
static inline enum vio_sent user_send(struct user *u, const struct vio_frame *f, const void *bytes, size_t n, size_t longest)
{
	static const struct vio_frame whole;
	size_t pieces = (n + longest - 1) / longest;
	struct vio_seg *seg = calloc(pieces ? pieces : 1, sizeof *seg);
	for (size_t i = 0, at = 0; at < n; i++) {
		size_t part = n - at < longest ? n - at : longest;
		seg[i] = (struct vio_seg){ memcpy(malloc(part), (const char *)bytes + at, part), part };
		at += part;
	}
	enum vio_sent r = u->lane->ops->send(u->lane, f ? f : &whole, (struct vio_cur){ .seg = seg, .left = n });
	for (size_t i = 0; i < pieces; i++)
		free(seg[i].base);
	free(seg);
	return r;
}

static inline unsigned user_receive(struct user *u, unsigned most)
{
	return u->lane->ops->receive(u->lane, most);
}

/* The n-th of the frames got (from 0) is these bytes. */
static inline bool user_got(const struct user *u, unsigned n, const void *bytes, size_t length)
{
	return n < u->count && u->got[n].length == length && !memcmp(u->got[n].bytes, bytes, length);
}

static inline void pattern(unsigned char *to, size_t n, unsigned seed)
{
	for (size_t i = 0; i < n; i++)
		to[i] = (unsigned char)(i * 7 + seed + (i >> 8));
}
#endif
