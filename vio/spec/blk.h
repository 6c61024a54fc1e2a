/* Block device (virtio 1.4, section 5.2). */
#ifndef VIO_SPEC_BLK_H
#define VIO_SPEC_BLK_H
#include <vio/spec/types.h>

enum {	/* 5.2.3 feature bits */
	VIO_BLK_F_SIZE_MAX = 1,
	VIO_BLK_F_SEG_MAX = 2,
	VIO_BLK_F_GEOMETRY = 4,
	VIO_BLK_F_RO = 5,
	VIO_BLK_F_BLK_SIZE = 6,
	VIO_BLK_F_FLUSH = 9,
	VIO_BLK_F_TOPOLOGY = 10,
	VIO_BLK_F_CONFIG_WCE = 11,
	VIO_BLK_F_MQ = 12,
	VIO_BLK_F_DISCARD = 13,
	VIO_BLK_F_WRITE_ZEROES = 14,
	VIO_BLK_F_LIFETIME = 15,
	VIO_BLK_F_SECURE_ERASE = 16,
	VIO_BLK_F_ZONED = 17
};

struct vio_blk_config {	/* 5.2.4 */
	vio_le64 capacity;	/* in 512-byte sectors */
	vio_le32 size_max;
	vio_le32 seg_max;
	struct { vio_le16 cylinders; uint8_t heads, sectors; } geometry;
	vio_le32 blk_size;
	struct { uint8_t physical_block_exp, alignment_offset; vio_le16 min_io_size; vio_le32 opt_io_size; } topology;
	uint8_t writeback;	/* the only field that a driver may write */
	uint8_t unused0;
	vio_le16 num_queues;
	vio_le32 max_discard_sectors;
	vio_le32 max_discard_seg;
	vio_le32 discard_sector_alignment;
	vio_le32 max_write_zeroes_sectors;
	vio_le32 max_write_zeroes_seg;
	uint8_t write_zeroes_may_unmap;
	uint8_t unused1[3];
	vio_le32 max_secure_erase_sectors;
	vio_le32 max_secure_erase_seg;
	vio_le32 secure_erase_sector_alignment;
	struct {
		vio_le32 zone_sectors, max_open_zones, max_active_zones, max_append_sectors, write_granularity;
		uint8_t model;
		uint8_t unused2[3];
	} zoned;
};
VIO_STATIC_ASSERT(sizeof(struct vio_blk_config) == 96, "5.2.4");
VIO_STATIC_ASSERT(offsetof(struct vio_blk_config, writeback) == 32, "5.2.4");

enum {	/* 5.2.6 request types */
	VIO_BLK_T_IN = 0,
	VIO_BLK_T_OUT = 1,
	VIO_BLK_T_FLUSH = 4,
	VIO_BLK_T_GET_ID = 8,
	VIO_BLK_T_GET_LIFETIME = 10,
	VIO_BLK_T_DISCARD = 11,
	VIO_BLK_T_WRITE_ZEROES = 13,
	VIO_BLK_T_SECURE_ERASE = 14,
	VIO_BLK_T_ZONE_APPEND = 15,
	VIO_BLK_T_ZONE_REPORT = 16,
	VIO_BLK_T_ZONE_OPEN = 18,
	VIO_BLK_T_ZONE_CLOSE = 20,
	VIO_BLK_T_ZONE_FINISH = 22,
	VIO_BLK_T_ZONE_RESET = 24,
	VIO_BLK_T_ZONE_RESET_ALL = 26
};

enum {
	VIO_BLK_S_OK = 0,
	VIO_BLK_S_IOERR = 1,
	VIO_BLK_S_UNSUPP = 2,
	VIO_BLK_S_ZONE_INVALID_CMD = 3,
	VIO_BLK_S_ZONE_UNALIGNED_WP = 4,
	VIO_BLK_S_ZONE_OPEN_RESOURCE = 5,
	VIO_BLK_S_ZONE_ACTIVE_RESOURCE = 6
};
enum { VIO_BLK_SECTOR = 512, VIO_BLK_ID_BYTES = 20 };

struct vio_blk_req { vio_le32 type, reserved; vio_le64 sector; };	/* then data, then the status byte */
struct vio_blk_range { vio_le64 sector; vio_le32 num_sectors, flags; };	/* discard, write zeroes, secure erase */
enum { VIO_BLK_RANGE_UNMAP = 1 };
struct vio_blk_lifetime { vio_le16 pre_eol_info, device_lifetime_est_typ_a, device_lifetime_est_typ_b; };
VIO_STATIC_ASSERT(sizeof(struct vio_blk_req) == 16 && sizeof(struct vio_blk_range) == 16, "5.2.6");
VIO_STATIC_ASSERT(sizeof(struct vio_blk_lifetime) == 6, "5.2.6");

enum { VIO_BLK_Z_NONE = 0, VIO_BLK_Z_HM = 1, VIO_BLK_Z_HA = 2 };	/* 5.2.5 model: host-managed, host-aware */
enum { VIO_BLK_ZT_CONV = 1, VIO_BLK_ZT_SWR = 2, VIO_BLK_ZT_SWP = 3 };	/* 5.2.6 z_type: sequential write required, preferred */
enum {	/* 5.2.6 z_state */
	VIO_BLK_ZS_NOT_WP = 0,
	VIO_BLK_ZS_EMPTY = 1,
	VIO_BLK_ZS_IOPEN = 2,
	VIO_BLK_ZS_EOPEN = 3,
	VIO_BLK_ZS_CLOSED = 4,
	VIO_BLK_ZS_RDONLY = 13,
	VIO_BLK_ZS_FULL = 14,
	VIO_BLK_ZS_OFFLINE = 15
};
struct vio_blk_zone_report { vio_le64 nr_zones; uint8_t reserved[56]; };	/* then so many of these */
struct vio_blk_zone { vio_le64 z_cap, z_start, z_wp; uint8_t z_type, z_state, reserved[38]; };
VIO_STATIC_ASSERT(sizeof(struct vio_blk_zone_report) == 64 && sizeof(struct vio_blk_zone) == 64, "5.2.6");
#endif
