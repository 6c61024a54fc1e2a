/* Device parts: the state of a device in a defined form (virtio 1.4, section 2.12). */
#ifndef VIO_SPEC_PARTS_H
#define VIO_SPEC_PARTS_H
#include <vio/spec/types.h>

enum {
	VIO_PART_DEV_FEATURES = 0x100,
	VIO_PART_DRV_FEATURES = 0x101,
	VIO_PART_PCI_COMMON_CFG = 0x102,	/* one field; selector: le32 offset in struct vio_pci_common, then zeroes */
	VIO_PART_DEVICE_STATUS = 0x103,
	VIO_PART_VQ_CFG = 0x104,
	VIO_PART_VQ_NOTIFY_CFG = 0x105,
	VIO_PART_DEVICE_TYPE = 0x200,	/* first of the range that is the device type's own */
	/* The end of that range is ours, for what the specification has no parts for. */
	VIO_PART_OURS = 0x5f0,
	VIO_PART_PCI_CONFIG = 0x5f0,	/* the function's config space, and registers that no other part has */
	VIO_PART_PCI_VECTORS = 0x5f1,	/* the MSI-X table and what is pending */
	VIO_PART_MMIO = 0x5f2,		/* registers */
	VIO_PART_ADMIN = 0x5fd,		/* what the driver has administered of the self group; selector: struct vio_part_admin */
	VIO_PART_CONFIG = 0x5fe,	/* the config space, and what is known of it */
	VIO_PART_VQ_PLACE = 0x5ff	/* where a stopped queue goes on */
};
enum { VIO_PART_F_OPTIONAL = 1 };

struct vio_part_header {
	vio_le16 type;
	uint8_t flags, reserved;
	uint8_t selector[8];		/* of a queue's parts: le16 index, then zeroes */
	vio_le32 length;
};
struct vio_part_features { vio_le64 word[2]; };
struct vio_part_vq_cfg { vio_le16 size, vector, enabled, reserved; vio_le64 desc, driver, device; };
struct vio_part_vq_notify { vio_le16 notify_off, config_data; uint8_t reserved[4]; };
VIO_STATIC_ASSERT(sizeof(struct vio_part_header) == 16 && sizeof(struct vio_part_vq_cfg) == 32 &&
    sizeof(struct vio_part_vq_notify) == 8, "2.12");

/* ---- Ours ---- */

struct vio_part_vq_place { vio_le32 base; uint8_t broken, zero[3]; };
struct vio_part_config { vio_le32 generation; uint8_t due, zero[3]; /* and the bytes */ };	/* due: the driver is to be told */
struct vio_part_mmio { vio_le32 device_sel, driver_sel, queue_sel, shm_sel, interrupt, zero; vio_le64 driver_features[2]; };
struct vio_part_pci_config {
	uint8_t space[256];
	vio_le16 command, msix_control;
	vio_le32 isr;
	vio_le32 bytes;			/* of BAR 0 */
	vio_le32 generation_seen;	/* which generation of the config space config_generation stands for */
	vio_le64 shm_bytes;
	vio_le64 driver_features[2];
};
/* type: of a capability its id, of an object its type; the value is the list of commands in use, the capability, the object's data */
enum { VIO_PART_ADMIN_LIST, VIO_PART_ADMIN_CAP, VIO_PART_ADMIN_OBJECT };
struct vio_part_admin { vio_le16 kind, type; vio_le32 id; };
struct vio_part_pci_vector { vio_le64 address; vio_le32 data; uint8_t masked, pending, zero[2]; };
VIO_STATIC_ASSERT(sizeof(struct vio_part_vq_place) == 8 && sizeof(struct vio_part_config) == 8 && sizeof(struct vio_part_mmio) == 40 &&
    sizeof(struct vio_part_admin) == 8 && sizeof(struct vio_part_pci_config) == 296 && sizeof(struct vio_part_pci_vector) == 16, "without holes");
#endif
