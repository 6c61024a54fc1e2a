/* A shared folder: the file "hello" is looked up, opened, read, and let go of. */
#include <vio/driver/fs.h>
#include "guest.h"

enum { QUEUE = 16, BYTES = 256 };

static bool start(struct vio_fs *f, struct vio_drv_port *port)
{
	struct vio_fs_setup setup = { .queues = 1, .queue_size = QUEUE, .memory[0] = {
		.ring = guest_alloc(VIO_DRVQ_RING_BYTES(QUEUE), 16),
		.slots = guest_alloc(QUEUE * sizeof(struct vio_drvq_slot), 8),
		.indirect = guest_alloc(QUEUE * VIO_FS_DRV_INDIRECT * sizeof(struct vio_split_desc), 16) } };

	if (!expect(vio_fs_start(f, port, &setup), "starts"))
		return expect(false, "%s", f->drv.failed);
	drive_features(&f->drv);
	return true;
}

void drive_fs(struct vio_drv_port *port)
{
	struct vio_fs *f = GUEST_NEW(struct vio_fs);
	struct vio_fuse_entry_out *entry = GUEST_NEW(struct vio_fuse_entry_out);
	struct vio_fs_file file;
	char *data = guest_alloc(BYTES + 1, 64);
	uint32_t got = 0;

	if (!start(f, port))
		return;
	say("# fs: %s, FUSE 7.%u\n", f->tag, f->minor);
	expect(vio_fs_lookup(f, VIO_FUSE_ROOT_ID, "not there", entry) == 2, "a file that is not there is not there");
	if (expect(vio_fs_lookup(f, VIO_FUSE_ROOT_ID, "hello", entry) == 0, "knows a file")) {
		uint64_t node = vio_le64_get(entry->nodeid);
		if (expect(vio_fs_open(f, node, 0, &file) == 0, "opens it")) {
			expect(vio_fs_read(f, &file, 0, data, BYTES, &got) == 0 && got, "reads it");
			say("# fs: hello is %s\n", data);
			expect(vio_fs_release(f, &file) == 0, "closes it");
		}
		expect(vio_fs_forget(f, node, 1), "forgets it");
	}
	expect(vio_fs_stop(f), "stops");
}
