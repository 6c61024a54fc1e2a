/* File system device (virtio 1.4, section 5.11): options.  The type is vio_dev_fs. */
#ifndef VIO_DEVICE_FS_H
#define VIO_DEVICE_FS_H
#include <vio/backend/tree.h>
#include <vio/device/dev.h>
VIO_BEGIN_DECLS

enum { VIO_FS_TAG = 36 };

struct vio_fs_options {
	struct vio_tree *tree;		/* the caller's; must outlive the device */
	const char *tag;		/* UTF-8, 1 to 36 bytes: what a driver calls the file system by */
	uint16_t request_queues;	/* 1 to VIO_DEV_QUEUES - 1; the tree is asked for one channel more: queue 0 is hiprio */
	uint16_t queue_size;		/* 0: 1024, as QEMU's front end has at most */
};
extern const struct vio_dev_type vio_dev_fs;
VIO_END_DECLS
#endif
