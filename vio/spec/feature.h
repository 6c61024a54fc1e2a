/*
 * Feature bits (virtio 1.4, sections 2.2 and 6).  A feature is a bit NUMBER, a set is two 64-bit words (net uses bits
 * 64 to 70); numbers and sets never mix.
 */
#ifndef VIO_SPEC_FEATURE_H
#define VIO_SPEC_FEATURE_H
#include <vio/spec/types.h>

enum {	/* section 6: reserved feature bits */
	VIO_F_INDIRECT_DESC = 28,
	VIO_F_EVENT_IDX = 29,
	VIO_F_VERSION_1 = 32,
	VIO_F_ACCESS_PLATFORM = 33,
	VIO_F_RING_PACKED = 34,
	VIO_F_IN_ORDER = 35,
	VIO_F_ORDER_PLATFORM = 36,
	VIO_F_SR_IOV = 37,
	VIO_F_NOTIFICATION_DATA = 38,
	VIO_F_NOTIF_CONFIG_DATA = 39,
	VIO_F_RING_RESET = 40,
	VIO_F_ADMIN_VQ = 41,
	VIO_F_SUSPEND = 43,
	VIO_F_LIMIT = 128	/* one more than the highest number */
};

struct vio_features { uint64_t word[2]; };

static inline bool vio_has(struct vio_features f, unsigned bit)
{
	return bit < VIO_F_LIMIT && (f.word[bit / 64] >> (bit % 64) & 1);
}

static inline void vio_features_add(struct vio_features *f, unsigned bit) { f->word[bit / 64] |= UINT64_C(1) << (bit % 64); }
static inline void vio_features_drop(struct vio_features *f, unsigned bit) { f->word[bit / 64] &= ~(UINT64_C(1) << (bit % 64)); }

static inline struct vio_features vio_features_and(struct vio_features a, struct vio_features b)
{
	a.word[0] &= b.word[0];
	a.word[1] &= b.word[1];
	return a;
}

static inline struct vio_features vio_features_or(struct vio_features a, struct vio_features b)
{
	a.word[0] |= b.word[0];
	a.word[1] |= b.word[1];
	return a;
}

static inline struct vio_features vio_features_minus(struct vio_features a, struct vio_features b)
{
	a.word[0] &= ~b.word[0];
	a.word[1] &= ~b.word[1];
	return a;
}

static inline bool vio_features_none(struct vio_features f) { return !(f.word[0] | f.word[1]); }

static inline bool vio_features_equal(struct vio_features a, struct vio_features b)
{
	return a.word[0] == b.word[0] && a.word[1] == b.word[1];
}

/* The set of n bit numbers: vio_features_of((const unsigned char[]){ 2, 9 }, 2) */
static inline struct vio_features vio_features_of(const unsigned char *bits, size_t n)
{
	struct vio_features f = { { 0, 0 } };
	for (size_t i = 0; i < n; i++)
		vio_features_add(&f, bits[i]);
	return f;
}

/* "bit needs on": bit may be offered or accepted only together with on.  Tables end with { 0, 0 }. */
struct vio_feature_need { unsigned char bit, on; };

/* The first bit of f whose need is not in f, or VIO_F_LIMIT when all needs are met (2.2.1, 2.2.2). */
static inline unsigned vio_features_unmet(struct vio_features f, const struct vio_feature_need *needs)
{
	for (; needs && (needs->bit || needs->on); needs++)
		if (vio_has(f, needs->bit) && !vio_has(f, needs->on))
			return needs->bit;
	return VIO_F_LIMIT;
}
#endif
