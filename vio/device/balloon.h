/* Memory balloon (virtio 1.4, section 5.5): options.  The type is vio_dev_balloon; what the host wants goes by struct vio_pages. */
#ifndef VIO_DEVICE_BALLOON_H
#define VIO_DEVICE_BALLOON_H
#include <vio/backend/pages.h>
#include <vio/device/dev.h>
VIO_BEGIN_DECLS

struct vio_balloon_options {
	struct vio_pages *pages;	/* the caller's; must outlive the device */
	uint16_t queue_size;		/* 0: 256 (user-mode Linux takes no other) */
	bool deflate_on_oom;		/* the guest may take pages back by itself when it runs out of memory */
	bool no_reporting;		/* do not offer PAGE_REPORTING */
};
extern const struct vio_dev_type vio_dev_balloon;
VIO_END_DECLS
#endif
