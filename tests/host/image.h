/* What the tests of files as disks share: images, and refusals. */
#ifndef VIO_TESTS_HOST_IMAGE_H
#define VIO_TESTS_HOST_IMAGE_H
#include <tests/host/rig.h>

#define TMPFS "/dev/shm/"
#define FOLDER "/var/tmp/"
enum { NAME = 128 };

static inline void skip_because(const char *why)
{
	print_message("# %s\n", why);
	skip();
}

static inline struct vio_disk *open_file(struct rig *r, struct vio_disk_file_options o, char *why)
{
	why[0] = 0;
	o.place = rig_place(r);
	o.queues = 1;
	struct vio_disk *d = vio_disk_file_open(&o, why);
	assert_true((d == NULL) == (why[0] != 0));
	return d;
}

/* In one rig: an image of size bytes in folder, opened as o says (but for the path). */
static inline void use_image(struct rig *r, char *name, const char *folder, uint64_t size,
    struct vio_disk_file_options o)
{
	char why[VIO_WHY];

	rig_init(r);
	close(rig_image(name, NAME, folder, size));
	o.path = name;
	struct vio_disk *d = open_file(r, o, why);
	if (!d)
		fail_msg("%s", why);
	rig_use(r, d);
}

static inline void end_image(struct rig *r, const char *name)
{
	rig_end(r);
	unlink(name);
}

static inline void assert_refused(struct vio_disk_file_options o, const char *words)
{
	char why[VIO_WHY];
	struct rig r;

	rig_init(&r);
	assert_null(open_file(&r, o, why));
	if (!strstr(why, words))
		fail_msg("\"%s\" does not say \"%s\"", why, words);
	rig_end(&r);
}

#endif
