/* Two disks in memory between guards, late, short and failing, and a drive without a medium; units come and go. */
#include "kind.h"
#include <vio/device/scsi.h>
#include <vio/host/disk.h>
#include <vio/host/keep.h>
#include <vio/spec/scsi_cmd.h>

enum { DISK = 16384, GUARD = 512, DISKS = 3, REQUEST_BYTES = 51, ANSWER_BYTES = 108, PARAMETERS = 256 };

struct own {
	struct vio_disk *disk[DISKS];
	unsigned char *bytes[DISKS];	/* guard, disk, guard */
	struct vio_keep *keep;
	bool in_use[DISKS];		/* the device may have it */
	struct subject *s;
};

static void disk_open(struct own *o, unsigned i, uint8_t every)
{
	struct vio_disk_faults faults = { .late_every = every & 3, .fail_every = (every >> 2 & 3) * 2, .short_every = (every >> 4 & 3) * 3 };

	o->bytes[i] = malloc(GUARD + DISK + GUARD);
	memset(o->bytes[i], 0xa5, GUARD + DISK + GUARD);
	o->disk[i] = vio_disk_faulty_open(vio_disk_ram_open(DISK, o->bytes[i] + GUARD, (struct vio_disk_place){ NULL, 0 }), &faults);
}

static const char *open_scsi(struct subject *s, struct feed *f)
{
	struct own *o = s->own = calloc(1, sizeof *o);
	uint8_t bits = (uint8_t)take(f, 1);

	o->s = s;
	for (unsigned i = 0; i < DISKS; i++)
		disk_open(o, i, (uint8_t)take(f, 1));
	o->keep = vio_keep_memory_open();
	o->in_use[0] = o->in_use[1] = true;
	const struct vio_scsi_lun luns[] = {
		{ .target = 0, .lun = 0, .disk = o->disk[0], .serial = "0", .keep = bits & 1 ? o->keep : NULL, .thin = bits & 2,
			.writethrough = bits & 4, .protect = bits & 8, .rotation = bits & 16 ? 7200 : 0 },
		{ .target = 1, .lun = 300, .disk = o->disk[1], .removable = true, .read_only = bits & 32, .logical_block = bits & 64 ? 4096 : 0 },
		{ .target = 2, .lun = 0, .cdrom = true },
	};
	return kind_open(s, &(struct vio_scsi_options){ .luns = luns, .lun_count = 3, .queues = 1, .queue_size = KIND_SIZE,
		.pi = bits & 128 ? VIO_SCSI_PI_LINUX : bits & 8 ? VIO_SCSI_PI_SPEC : VIO_SCSI_PI_NONE });
}

static const uint8_t addresses[8][4] = {
	{ 1, 0, 0x40, 0 }, { 1, 0, 0, 0 }, { 1, 1, 0x41, 300 & 255 }, { 1, 2, 0, 0 }, { 1, 0, 0x40, 7 }, { 1, 9, 0, 0 }, { 1, 0, 0xc1, 1 }, { 0xc1, 1, 0, 0 },
};

static const uint8_t codes[] = {
	VIO_SCSI_TEST_UNIT_READY, VIO_SCSI_REQUEST_SENSE, VIO_SCSI_READ_6, VIO_SCSI_WRITE_6, VIO_SCSI_INQUIRY, VIO_SCSI_MODE_SELECT_6,
	VIO_SCSI_MODE_SENSE_6, VIO_SCSI_START_STOP_UNIT, VIO_SCSI_PREVENT_ALLOW_MEDIUM_REMOVAL, VIO_SCSI_READ_CAPACITY_10, VIO_SCSI_READ_10,
	VIO_SCSI_WRITE_10, VIO_SCSI_VERIFY_10, VIO_SCSI_PREFETCH_10, VIO_SCSI_SYNCHRONIZE_CACHE_10, VIO_SCSI_WRITE_SAME_10, VIO_SCSI_UNMAP,
	VIO_SCSI_READ_TOC, VIO_SCSI_GET_CONFIGURATION, VIO_SCSI_GET_EVENT_STATUS_NOTIFICATION, VIO_SCSI_LOG_SENSE,
	VIO_SCSI_READ_DISC_INFORMATION, VIO_SCSI_READ_TRACK_INFORMATION, VIO_SCSI_MODE_SELECT_10, VIO_SCSI_MODE_SENSE_10,
	VIO_SCSI_PERSISTENT_RESERVE_IN, VIO_SCSI_PERSISTENT_RESERVE_OUT, VIO_SCSI_PERSISTENT_RESERVE_OUT, VIO_SCSI_READ_16,
	VIO_SCSI_COMPARE_AND_WRITE, VIO_SCSI_WRITE_16, VIO_SCSI_VERIFY_16, VIO_SCSI_SYNCHRONIZE_CACHE_16, VIO_SCSI_WRITE_SAME_16,
	VIO_SCSI_SERVICE_ACTION_IN_16, VIO_SCSI_REPORT_LUNS, VIO_SCSI_MAINTENANCE_IN, VIO_SCSI_READ_12, VIO_SCSI_WRITE_12,
	VIO_SCSI_READ_DVD_STRUCTURE, VIO_SCSI_MECHANISM_STATUS, VIO_SCSI_READ_CD,
};

static void manage(struct subject *s, struct feed *f)
{
	uint8_t how = (uint8_t)take(f, 1), id = (uint8_t)take(f, 1);
	unsigned char *h = kind_header(s) + 448;
	bool an = how & 0x80;
	const struct vio_buf b[2] = { { FUZZ_A + 448, how & 0x40 ? guest_length(f) : an ? 16 : 24 }, { guest_address(f), 1 + (how & 7) } };

	memset(h, 0, 24);
	h[0] = an ? 1 + (id & 1) : (how & 0x3f) == 0x3f;
	h[4] = an ? 1 : how >> 3 & 7;
	memcpy(h + (an ? 4 : 8), addresses[id & 7], 4);
	if (!an)
		h[16] = id >> 3;
	else
		h[12] = id;
	kind_add(s, 1, b, 1, 1);
}

/* A command of the list, or any bytes; parameters of the input's behind the header, or anywhere. */
static void request(struct subject *s, struct feed *f, unsigned queue)
{
	uint8_t how = (uint8_t)take(f, 1), where = (uint8_t)take(f, 1), code = (uint8_t)take(f, 1), fill = (uint8_t)take(f, 1);
	unsigned char *h = kind_header(s);
	struct vio_buf b[5];
	unsigned r = 0, w = 0;

	if (queue) {
		manage(s, f);
		return;
	}
	memset(h, 0, 448);
	memcpy(h, addresses[where & 7], 4);
	h[8] = where >> 3;
	h[16] = how >> 6;
	take_bytes(f, h + 19, 1 + (fill & 15));
	h[19] = code < 0xc0 ? codes[code % sizeof codes] : code;
	if (fill & 0x80)
		take_bytes(f, h + 64 + ANSWER_BYTES, fill & 0x40 ? 64 : 24);
	b[r++] = (struct vio_buf){ FUZZ_A, REQUEST_BYTES };
	if (how & 1)
		b[r++] = how & 2 ? (struct vio_buf){ FUZZ_A + 64 + ANSWER_BYTES, how & 4 ? 24 : PARAMETERS } :
		    (struct vio_buf){ guest_address(f), guest_length(f) };
	b[r + w++] = how & 0x20 ? (struct vio_buf){ guest_address(f), guest_length(f) } : (struct vio_buf){ FUZZ_A + 64, ANSWER_BYTES };
	if (how & 8)
		b[r + w++] = how & 0x10 ? (struct vio_buf){ FUZZ_A + FUZZ_AB, FUZZ_AB } : (struct vio_buf){ guest_address(f), guest_length(f) };
	kind_add(s, 0, b, r, w);
}

static void free_again(void *arg) { *(bool *)arg = false; }

/* What was late is done; media and units come and go; disks change their size, within their bytes. */
static void late(struct subject *s, struct feed *f)
{
	struct own *o = s->own;
	uint8_t how = (uint8_t)take(f, 1);
	unsigned i = (how >> 3) % DISKS;
	struct vio_scsi_lun more = { .target = 0, .lun = 7, .disk = o->disk[2], .keep = o->keep };

	switch (how & 7) {
	case 0:
		o->disk[i]->size = how % (DISK / 4096 + 1) * 4096;
		if (o->disk[i]->resized)
			o->disk[i]->resized(o->disk[i]->resized_arg);
		break;
	case 1:
		if (!o->in_use[2] && !vio_scsi_dev_add(s->d, &more))
			o->in_use[2] = true;
		break;
	case 2:
		vio_scsi_dev_remove(s->d, 0, 7, free_again, &o->in_use[2]);
		break;
	case 3:
		vio_scsi_dev_change_medium(s->d, 1, 300, NULL, how & 8, free_again, &o->in_use[1]);
		break;
	case 4:
		if (!o->in_use[1] && !vio_scsi_dev_change_medium(s->d, 1, 300, o->disk[1], true, NULL, NULL))
			o->in_use[1] = true;
		break;
	default:
		for (i = 0; i < DISKS; i++)
			vio_disk_faulty_release(o->disk[i]);
	}
}

/* INQUIRY is answered whatever was before. */
static void good(struct subject *s)
{
	const struct vio_buf b[] = { { FUZZ_A, REQUEST_BYTES }, { FUZZ_A + 64, ANSWER_BYTES + 36 } };
	unsigned char *h = kind_header(s);

	memset(h, 0, 448);
	h[0] = 1;
	h[19] = VIO_SCSI_INQUIRY;
	h[23] = 36;
	memset(h + 64, 0xff, ANSWER_BYTES + 36);
	kind_add(s, 0, b, 1, 1);
	kind_served(s, 0, ANSWER_BYTES + 36);
	if (h[64 + 10] || h[64 + 11] || memcmp(h + 64 + ANSWER_BYTES + 8, "vio ", 4))
		abort();
}

static void check(struct subject *s)
{
	const struct own *o = s->own;

	for (unsigned k = 0; k < DISKS; k++)
		for (unsigned i = 0; i < GUARD; i++)
			if (o->bytes[k][i] != 0xa5 || o->bytes[k][GUARD + DISK + i] != 0xa5)
				abort();
}

static void close_scsi(struct subject *s)
{
	struct own *o = s->own;

	for (unsigned i = 0; i < DISKS; i++) {
		vio_disk_close(o->disk[i]);
		free(o->bytes[i]);
	}
	vio_keep_close(o->keep);
	free(o);
}

const struct kind kind_scsi = { &vio_dev_scsi, open_scsi, request, late, good, check, close_scsi, { VIO_SCSI_Q_REQUEST, VIO_SCSI_Q_CONTROL } };
