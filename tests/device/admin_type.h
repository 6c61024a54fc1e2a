/*
 * A device that there is not, with capabilities and resource objects of every form, to prove what administers them: boxes, lids
 * that lie on boxes, stickers that stick to both.  Its queue gives back what it is given.
 */
#ifndef VIO_TESTS_DEVICE_ADMIN_TYPE_H
#define VIO_TESTS_DEVICE_ADMIN_TYPE_H
#include <string.h>
#include <vio/device/admin.h>

enum { MADE_UP_ID = 0x3f, BOXES = 4, LIDS = 3, STICKERS = 2 };
enum { CAP_SMELLS, CAP_STORE, CAP_STICKERS, CAPS_COUNT };
enum { BOX, LID, STICKER, KINDS };

/* As they stand on the wire. */
struct store_value { vio_le32 boxes, lids; vio_le16 flags; uint8_t depth, colours, colour[8]; };
struct box { vio_le16 colour; uint8_t weight[4]; };	/* le32, at an odd place */
struct lid { vio_le32 box; uint8_t shape[8]; };
struct sticker { vio_le32 box, lid; uint8_t text[9]; };
enum { STORE_FLAGS = 0x0103, STORE_DEPTH = 7, SMELLS = 0x50, WEIGHT_MAX = 1000, WEIGHT_NO_MEMORY = 2000, WEIGHT_NOT_NOW = 3000 };

static const struct vio_admin_field smell_fields[] = { { 0, 8, VIO_ADMIN_FLAGS } };
static const struct vio_admin_field store_fields[] = {
	{ 0, 4, VIO_ADMIN_LIMIT }, { 4, 4, VIO_ADMIN_LIMIT }, { 8, 2, VIO_ADMIN_FLAGS }, { 10, 1, VIO_ADMIN_LIMIT },
};
static const struct vio_admin_field sticker_fields[] = { { 0, 4, VIO_ADMIN_LIMIT } };

/* An array: its entries are among the device's. */
static bool colours_fit(const void *device, const void *driver)
{
	const struct store_value *has = device, *wants = driver;

	if (wants->colours > sizeof wants->colour)
		return false;
	for (unsigned i = 0; i < wants->colours; i++)
		if (!memchr(has->colour, wants->colour[i], has->colours))
			return false;
	return true;
}

static const struct vio_dev_admin_cap made_up_caps[CAPS_COUNT] = {
	[CAP_SMELLS] = { 0x003, 8, smell_fields, 1, NULL },
	[CAP_STORE] = { 0x800, sizeof(struct store_value), store_fields, 4, colours_fit },
	[CAP_STICKERS] = { 0x842, 4, sticker_fields, 1, NULL },
};
static const struct vio_dev_admin_ref lid_refs[] = { { BOX, 0 } }, sticker_refs[] = { { BOX, 0 }, { LID, 4 } };
static const struct vio_dev_admin_resource made_up_kinds[KINDS] = {
	[BOX] = { 0x200, sizeof(struct box), 1 << CAP_STORE, CAP_STORE, 0, BOXES, NULL, 0 },
	[LID] = { 0x201, sizeof(struct lid), 1 << CAP_STORE, CAP_STORE, 4, LIDS, lid_refs, 1 },
	[STICKER] = { 0x2ff, sizeof(struct sticker), 1 << CAP_STORE | 1 << CAP_STICKERS, CAP_STICKERS, 0, STICKERS, sticker_refs, 2 },
};
VIO_STATIC_ASSERT(sizeof(struct store_value) == 20 && sizeof(struct box) == 6 && sizeof(struct lid) == 12, "on the wire");

enum { MADE_UP_STORE = VIO_DEV_ADMIN_SLOT(8) + VIO_DEV_ADMIN_SLOT(sizeof(struct store_value)) + VIO_DEV_ADMIN_SLOT(4) +
	BOXES * VIO_DEV_ADMIN_SLOT(sizeof(struct box)) + LIDS * VIO_DEV_ADMIN_SLOT(sizeof(struct lid)) +
	STICKERS * VIO_DEV_ADMIN_SLOT(sizeof(struct sticker)) };

struct made_up {
	struct vio_dev dev;
	unsigned changed;
	VIO_ALIGNAS(8) unsigned char store[MADE_UP_STORE];
};

static void made_up_value(const struct vio_dev *d, unsigned cap, void *to)
{
	static const struct store_value store = { { BOXES }, { LIDS }, { STORE_FLAGS }, STORE_DEPTH, 3, { 1, 2, 5 } };
	static const vio_le64 smells = { SMELLS };
	static const vio_le32 stickers = { STICKERS };

	(void)d;
	if (cap == CAP_SMELLS)
		memcpy(to, &smells, sizeof smells);
	else if (cap == CAP_STORE)
		memcpy(to, &store, sizeof store);
	else
		memcpy(to, &stickers, sizeof stickers);
}

static uint16_t made_up_judge(struct vio_dev *d, unsigned resource, uint32_t id, const void *data, uint32_t n)
{
	const struct box *b = data;

	(void)d, (void)id, (void)n;
	if (resource != BOX)
		return VIO_ADMIN_STATUS_OK;
	switch (vio_admin_number(b->weight, 4)) {
	case WEIGHT_NO_MEMORY: return VIO_ADMIN_STATUS_ENOMEM;
	case WEIGHT_NOT_NOW: return VIO_ADMIN_STATUS_EAGAIN;
	default: return vio_admin_number(b->weight, 4) > WEIGHT_MAX ? VIO_ADMIN_STATUS_EINVAL : VIO_ADMIN_STATUS_OK;
	}
}

static void made_up_changed(struct vio_dev *d) { ((struct made_up *)d)->changed++; }

static const struct vio_dev_admin_type made_up_admin = {
	made_up_caps, CAPS_COUNT, made_up_kinds, KINDS, made_up_value, made_up_judge, made_up_changed,
};

static const char *made_up_open(struct vio_dev *d, const void *options)
{
	struct made_up *m = (struct made_up *)d;

	(void)options;
	d->queues = 1;
	d->queue_size_max = 64;
	d->admin_store = m->store;
	d->admin_store_bytes = sizeof m->store;
	return NULL;
}

static void made_up_queue(struct vio_dev *d, struct vio_devq *q)
{
	struct vio_chain *c;

	(void)d;
	while ((c = vio_devq_pop(q))) {
		vio_cur_zero(&c->w, c->w.left);
		vio_dev_push(q, c);
	}
}

static const struct vio_dev_type made_up = {
	.name = "made up", .id = MADE_UP_ID, .queue_size_max = 64, .instance = sizeof(struct made_up), .request = sizeof(struct vio_chain),
	.admin = &made_up_admin, .open = made_up_open, .queue = made_up_queue,
};
#endif
