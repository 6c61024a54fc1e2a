/*
 * What a driver has set and made by administration commands: capabilities and resource objects (2.12.1.2, 2.12.1.3).
 *
 *     store:  capability 0, 1, ...   resource 0: object 0, 1, ...   resource 1: object 0, ...        each a slot
 *
 * All that a command could be refused for is judged before anything is written, so what fails has changed nothing.
 */
#include <vio/device/admin_impl.h>
#include <vio/ring/freestanding.h>
#include <vio/spec/parts.h>

typedef struct vio_dev_admin_slot slot_t;

static const struct vio_dev_admin_type none;	/* of a device that has nothing: its lists are empty */
static const struct vio_dev_admin_type *type_of(const struct vio_dev *d) { return d->type->admin ? d->type->admin : &none; }
static unsigned char *data_of(slot_t *s) { return (unsigned char *)(s + 1); }

/* ---- Where things are ---- */

static size_t caps_bytes(const struct vio_dev_admin_type *t, unsigned caps)
{
	size_t n = 0;

	for (unsigned i = 0; i < caps; i++)
		n += VIO_DEV_ADMIN_SLOT(t->cap[i].bytes);
	return n;
}

static size_t resources_bytes(const struct vio_dev_admin_type *t, unsigned resources)
{
	size_t n = 0;

	for (unsigned i = 0; i < resources; i++)
		n += VIO_DEV_ADMIN_SLOT(t->resource[i].bytes) * t->resource[i].most;
	return n;
}

static slot_t *cap_slot(const struct vio_dev *d, unsigned cap)
{
	return (slot_t *)((unsigned char *)d->admin_store + caps_bytes(type_of(d), cap));
}

/* id < most */
static slot_t *object_slot(const struct vio_dev *d, unsigned resource, uint32_t id)
{
	const struct vio_dev_admin_type *t = type_of(d);
	size_t at = caps_bytes(t, t->caps) + resources_bytes(t, resource) + VIO_DEV_ADMIN_SLOT(t->resource[resource].bytes) * id;

	return (slot_t *)((unsigned char *)d->admin_store + at);
}

static bool exists(const struct vio_dev *d, unsigned resource, uint32_t id)
{
	return id < type_of(d)->resource[resource].most && object_slot(d, resource, id)->there;
}

const void *vio_dev_admin_cap(const struct vio_dev *d, unsigned cap)
{
	slot_t *s = cap_slot(d, cap);
	return s->there ? data_of(s) : NULL;
}

const void *vio_dev_admin_object(const struct vio_dev *d, unsigned resource, uint32_t id)
{
	return exists(d, resource, id) ? data_of(object_slot(d, resource, id)) : NULL;
}

static void put(slot_t *s, uint16_t bytes, const void *data, uint32_t n)
{
	s->there = true;
	s->len = (uint16_t)n;
	memset(data_of(s), 0, bytes);
	memcpy(data_of(s), data, n);
}

static void tell(struct vio_dev *d)
{
	if (type_of(d)->changed)
		type_of(d)->changed(d);
}

/* ---- Life ---- */

static const char *table_is_wrong(const struct vio_dev_admin_type *t)
{
	for (unsigned i = 0; i < t->caps; i++)
		if (t->cap[i].bytes > VIO_DEV_ADMIN_VALUE || t->cap[i].id >= VIO_ADMIN_CAP_IDS)
			return "a capability is larger than they may be, or has no such id";
	for (unsigned i = 0; i < t->resources; i++) {
		const struct vio_dev_admin_resource *r = &t->resource[i];
		if (r->bytes > VIO_DEV_ADMIN_VALUE || r->cap >= t->caps)
			return "resource objects are larger than they may be, or of no capability";
		for (unsigned k = 0; k < r->refs; k++)
			if (r->ref[k].resource >= i || r->ref[k].at + 4u > r->bytes)
				return "resource objects depend on ones that come later";
	}
	return NULL;
}

const char *vio_dev_admin_open(struct vio_dev *d)
{
	const struct vio_dev_admin_type *t = type_of(d);

	d->admin_queues = d->queues < VIO_DEV_QUEUES && !d->type->elsewhere;
	if (caps_bytes(t, t->caps) + resources_bytes(t, t->resources) != d->admin_store_bytes)
		return "the store of what is administered has the wrong size";
	vio_dev_admin_reset(d);
	return table_is_wrong(t);
}

void vio_dev_admin_reset(struct vio_dev *d)
{
	d->admin_used = UINT64_C(1) << VIO_ADMIN_CMD_LIST_QUERY | UINT64_C(1) << VIO_ADMIN_CMD_LIST_USE;
	if (!d->admin_store_bytes)
		return;
	memset(d->admin_store, 0, d->admin_store_bytes);
	tell(d);
}

/* ---- Capabilities ---- */

static int cap_named(const struct vio_dev_admin_type *t, uint16_t id)
{
	for (unsigned i = 0; i < t->caps; i++)
		if (t->cap[i].id == id)
			return (int)i;
	return -1;
}

static bool within(const struct vio_dev_admin_cap *c, const unsigned char *device, const unsigned char *driver)
{
	for (unsigned i = 0; i < c->fields; i++) {
		const struct vio_admin_field *f = &c->field[i];
		uint64_t may = vio_admin_number(device + f->at, f->bytes), wants = vio_admin_number(driver + f->at, f->bytes);
		if (f->kind == VIO_ADMIN_FLAGS ? (wants & ~may) != 0 : wants > may)
			return false;
	}
	return !c->fits || c->fits(device, driver);
}

/* Objects that stand on the capability. */
static bool cap_in_use(const struct vio_dev *d, unsigned cap)
{
	const struct vio_dev_admin_type *t = type_of(d);

	for (unsigned r = 0; r < t->resources; r++)
		for (uint32_t id = 0; t->resource[r].caps >> cap & 1 && id < t->resource[r].most; id++)
			if (exists(d, r, id))
				return true;
	return false;
}

uint16_t vio_dev_admin_cap_get(const struct vio_dev *d, uint16_t id, void *to, uint32_t *n)
{
	const struct vio_dev_admin_type *t = type_of(d);
	int i = cap_named(t, id);

	if (i < 0)
		return VIO_ADMIN_STATUS_ENXIO;
	t->value(d, (unsigned)i, to);
	*n = t->cap[i].bytes;
	return VIO_ADMIN_STATUS_OK;
}

uint16_t vio_dev_admin_cap_set(struct vio_dev *d, uint16_t id, const void *data, uint32_t n)
{
	const struct vio_dev_admin_type *t = type_of(d);
	unsigned char device[VIO_DEV_ADMIN_VALUE] = { 0 };
	int i = cap_named(t, id);

	if (i < 0)
		return VIO_ADMIN_STATUS_ENXIO;
	t->value(d, (unsigned)i, device);
	if (!within(&t->cap[i], device, data))
		return VIO_ADMIN_STATUS_EINVAL;
	if (cap_in_use(d, (unsigned)i))
		return VIO_ADMIN_STATUS_EBUSY;
	put(cap_slot(d, (unsigned)i), t->cap[i].bytes, data, n < t->cap[i].bytes ? n : t->cap[i].bytes);
	tell(d);
	return VIO_ADMIN_STATUS_OK;
}

/* ---- Resource objects ---- */

static int resource_named(const struct vio_dev_admin_type *t, uint16_t type)
{
	for (unsigned i = 0; i < t->resources; i++)
		if (t->resource[i].type == type)
			return (int)i;
	return -1;
}

bool vio_dev_admin_locked(const struct vio_dev *d, uint16_t type)
{
	const struct vio_dev_admin_type *t = type_of(d);
	int r = resource_named(t, type);

	for (unsigned i = 0; r >= 0 && i < t->caps; i++)
		if (t->resource[r].caps >> i & 1 && !vio_dev_admin_cap(d, i))
			return true;
	return false;
}

static uint32_t limit(const struct vio_dev *d, const struct vio_dev_admin_resource *r)
{
	const unsigned char *value = vio_dev_admin_cap(d, r->cap);
	uint32_t n = value ? (uint32_t)vio_admin_number(value + r->limit_at, 4) : 0;	/* 2.12.1.2: not set is zero */

	return n < r->most ? n : r->most;
}

static uint32_t ref_id(const struct vio_dev_admin_resource *r, unsigned k, const void *data)
{
	return (uint32_t)vio_admin_number((const unsigned char *)data + r->ref[k].at, 4);
}

/* Do the objects that this data depend on exist, and does the type think it fit? */
static uint16_t judge(struct vio_dev *d, unsigned resource, uint32_t id, const void *data, uint32_t n)
{
	const struct vio_dev_admin_type *t = type_of(d);
	const struct vio_dev_admin_resource *r = &t->resource[resource];

	for (unsigned k = 0; k < r->refs; k++)
		if (!exists(d, r->ref[k].resource, ref_id(r, k, data)))
			return VIO_ADMIN_STATUS_EINVAL;
	return t->judge ? t->judge(d, resource, id, data, n) : VIO_ADMIN_STATUS_OK;
}

/* The objects that this data depends on have one user more, or less. */
static void count_users(struct vio_dev *d, const struct vio_dev_admin_resource *r, const void *data, uint32_t one)
{
	for (unsigned k = 0; k < r->refs; k++)
		object_slot(d, r->ref[k].resource, ref_id(r, k, data))->users += one;
}

uint16_t vio_dev_admin_create(struct vio_dev *d, uint16_t type, uint32_t id, const void *data, uint32_t n)
{
	int i = resource_named(type_of(d), type);

	if (i < 0)
		return VIO_ADMIN_STATUS_ENXIO;
	const struct vio_dev_admin_resource *r = &type_of(d)->resource[i];
	if (exists(d, (unsigned)i, id))
		return VIO_ADMIN_STATUS_EEXIST;
	if (id >= limit(d, r))
		return VIO_ADMIN_STATUS_ENOSPC;
	uint16_t status = judge(d, (unsigned)i, id, data, n < r->bytes ? n : r->bytes);
	if (status != VIO_ADMIN_STATUS_OK)
		return status;
	slot_t *s = object_slot(d, (unsigned)i, id);
	put(s, r->bytes, data, n < r->bytes ? n : r->bytes);
	s->users = 0;
	count_users(d, r, data_of(s), 1);
	tell(d);
	return VIO_ADMIN_STATUS_OK;
}

/* The slot of an object that there is and that nothing depends on, or why not. */
static uint16_t find_free(const struct vio_dev *d, uint16_t type, uint32_t id, int *resource)
{
	*resource = resource_named(type_of(d), type);
	if (*resource < 0 || !exists(d, (unsigned)*resource, id))
		return VIO_ADMIN_STATUS_ENXIO;
	return object_slot(d, (unsigned)*resource, id)->users ? VIO_ADMIN_STATUS_EBUSY : VIO_ADMIN_STATUS_OK;
}

uint16_t vio_dev_admin_modify(struct vio_dev *d, uint16_t type, uint32_t id, const void *data, uint32_t n)
{
	int i;
	uint16_t status = find_free(d, type, id, &i);

	if (status != VIO_ADMIN_STATUS_OK)
		return status;
	const struct vio_dev_admin_resource *r = &type_of(d)->resource[i];
	status = judge(d, (unsigned)i, id, data, n < r->bytes ? n : r->bytes);
	if (status != VIO_ADMIN_STATUS_OK)
		return status;
	slot_t *s = object_slot(d, (unsigned)i, id);
	count_users(d, r, data_of(s), UINT32_MAX);
	put(s, r->bytes, data, n < r->bytes ? n : r->bytes);
	count_users(d, r, data_of(s), 1);
	tell(d);
	return VIO_ADMIN_STATUS_OK;
}

uint16_t vio_dev_admin_query(const struct vio_dev *d, uint16_t type, uint32_t id, void *to, uint32_t *n)
{
	int i = resource_named(type_of(d), type);

	if (i < 0 || !exists(d, (unsigned)i, id))
		return VIO_ADMIN_STATUS_ENXIO;
	slot_t *s = object_slot(d, (unsigned)i, id);
	memcpy(to, data_of(s), s->len);
	*n = s->len;
	return VIO_ADMIN_STATUS_OK;
}

uint16_t vio_dev_admin_destroy(struct vio_dev *d, uint16_t type, uint32_t id)
{
	int i;
	uint16_t status = find_free(d, type, id, &i);

	if (status != VIO_ADMIN_STATUS_OK)
		return status;
	slot_t *s = object_slot(d, (unsigned)i, id);
	count_users(d, &type_of(d)->resource[i], data_of(s), UINT32_MAX);
	s->there = false;
	tell(d);
	return VIO_ADMIN_STATUS_OK;
}

/* ---- State: one part for the list in use, each capability and each object, in this order ---- */

struct out { unsigned char *to; size_t room, used; };

static void save_part(struct out *o, struct vio_part_admin what, const void *value, size_t len)
{
	struct vio_part_header h = { vio_le16_of(VIO_PART_ADMIN), 0, 0, { 0 }, vio_le32_of((uint32_t)len) };

	memcpy(h.selector, &what, sizeof what);
	if (o->to && o->room >= o->used && o->room - o->used >= sizeof h + len) {
		memcpy(o->to + o->used, &h, sizeof h);
		memcpy(o->to + o->used + sizeof h, value, len);
	}
	o->used += sizeof h + len;
}

static void save_slot(struct out *o, slot_t *s, uint16_t kind, uint16_t type, uint32_t id)
{
	struct vio_part_admin what = { vio_le16_of(kind), vio_le16_of(type), vio_le32_of(id) };

	if (s->there)
		save_part(o, what, data_of(s), s->len);
}

size_t vio_dev_admin_save(struct vio_dev *d, void *to, size_t room)
{
	const struct vio_dev_admin_type *t = type_of(d);
	struct vio_part_admin list = { vio_le16_of(VIO_PART_ADMIN_LIST) };
	vio_le64 used = vio_le64_of(d->admin_used);
	struct out o = { to, room, 0 };

	if (!vio_has(d->accepted, VIO_F_ADMIN_VQ))
		return 0;
	save_part(&o, list, &used, sizeof used);
	for (unsigned i = 0; i < t->caps; i++)
		save_slot(&o, cap_slot(d, i), VIO_PART_ADMIN_CAP, t->cap[i].id, 0);
	for (unsigned r = 0; r < t->resources; r++)
		for (uint32_t id = 0; id < t->resource[r].most; id++)
			save_slot(&o, object_slot(d, r, id), VIO_PART_ADMIN_OBJECT, t->resource[r].type, id);
	return o.used;
}

static bool load_list(struct vio_dev *d, const void *value, uint32_t n)
{
	vio_le64 list;

	if (n != sizeof list)
		return false;
	memcpy(&list, value, sizeof list);
	d->admin_used = vio_le64_get(list);
	return !(d->admin_used & ~vio_dev_admin_commands(d));
}

/* As if the driver had sent the command. */
static bool load_part(struct vio_dev *d, const struct vio_part_header *h, const void *value, uint32_t n)
{
	unsigned char data[VIO_DEV_ADMIN_VALUE] = { 0 };
	struct vio_part_admin what;

	if (n > sizeof data)
		return false;
	memcpy(&what, h->selector, sizeof what);
	memcpy(data, value, n);
	uint16_t type = vio_le16_get(what.type);
	switch (vio_le16_get(what.kind)) {
	case VIO_PART_ADMIN_LIST: return load_list(d, data, n);
	case VIO_PART_ADMIN_CAP: return vio_dev_admin_cap_set(d, type, data, n) == VIO_ADMIN_STATUS_OK;
	case VIO_PART_ADMIN_OBJECT:
		return !vio_dev_admin_locked(d, type) && vio_dev_admin_create(d, type, vio_le32_get(what.id), data, n) == VIO_ADMIN_STATUS_OK;
	default: return false;
	}
}

static const char *load_parts(struct vio_dev *d, const unsigned char *at, size_t n)
{
	struct vio_part_header h;

	for (; n; at += sizeof h, n -= sizeof h) {	/* the parts are whole: the caller has cut them */
		memcpy(&h, at, sizeof h);
		uint32_t len = vio_le32_get(h.length);
		if (!load_part(d, &h, at + sizeof h, len))
			return "the state has a capability or resource object that this device would not take from its driver";
		at += len;
		n -= len;
	}
	return NULL;
}

const char *vio_dev_admin_load(struct vio_dev *d, const void *parts, size_t n, bool try_only)
{
	void *store = d->admin_store, *aside = NULL;
	uint64_t used = d->admin_used;

	if (!n)
		return NULL;
	if (!vio_has(d->accepted, VIO_F_ADMIN_VQ))
		return "the state has what was administered, and its driver has no administration queue";
	if (!try_only)
		return load_parts(d, parts, n);
	if (d->admin_store_bytes) {
		aside = d->port->alloc(d->port_arg, d->admin_store_bytes);
		if (!aside)
			return "there is no memory to look at the state in";
		d->admin_store = aside;
	}
	const char *why = load_parts(d, parts, n);
	d->admin_store = store;
	d->admin_used = used;
	if (aside) {
		d->port->free(d->port_arg, aside, d->admin_store_bytes);
		tell(d);
	}
	return why;
}
