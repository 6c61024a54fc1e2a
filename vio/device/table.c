/* Every device type.  A new one is a file beside this one and a word here: a daemon, a test subject and a fuzz target. */
#include <vio/device/dev.h>

#define TYPES(X) \
	X(balloon) \
	X(blk) \
	X(console) \
	X(fs) \
	X(input) \
	X(net) \
	X(rng) \
	X(scsi) \
	X(vsock)

#define DECLARE(name) extern const struct vio_dev_type vio_dev_##name;
#define ENTRY(name) &vio_dev_##name,
TYPES(DECLARE)
const struct vio_dev_type *const vio_dev_types[] = { TYPES(ENTRY) NULL };

static bool same(const char *a, const char *b)
{
	for (; *a && *a == *b; a++, b++)
		;
	return *a == *b;
}

const struct vio_dev_type *vio_dev_type_named(const char *name)
{
	for (const struct vio_dev_type *const *t = vio_dev_types; *t; t++)
		if (same((*t)->name, name))
			return *t;
	return NULL;
}
