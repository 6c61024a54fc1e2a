/* virtio over PCI (virtio 1.4, section 4.1), and of PCI itself what it stands on.  The legacy interface is not here. */
#ifndef VIO_SPEC_PCI_H
#define VIO_SPEC_PCI_H
#include <vio/spec/types.h>

/* ---- PCI Local Bus 3.0 and PCI Express Base: type 0 configuration header, capabilities ---- */

enum {
	VIO_PCI_VENDOR_ID = 0x00, VIO_PCI_DEVICE_ID = 0x02, VIO_PCI_COMMAND = 0x04, VIO_PCI_STATUS = 0x06, VIO_PCI_REVISION = 0x08,
	VIO_PCI_CLASS = 0x09, VIO_PCI_HEADER_TYPE = 0x0e, VIO_PCI_BAR0 = 0x10, VIO_PCI_SUBSYSTEM_VENDOR = 0x2c,
	VIO_PCI_SUBSYSTEM = 0x2e, VIO_PCI_CAPABILITIES = 0x34, VIO_PCI_INTERRUPT_LINE = 0x3c, VIO_PCI_INTERRUPT_PIN = 0x3d,
	VIO_PCI_FIRST_CAP = 0x40, VIO_PCI_CONFIG_BYTES = 256, VIO_PCI_EXPRESS_BYTES = 4096
};
enum { VIO_PCI_COMMAND_MEMORY = 1 << 1, VIO_PCI_COMMAND_MASTER = 1 << 2, VIO_PCI_COMMAND_INTX_OFF = 1 << 10 };
enum { VIO_PCI_STATUS_INTERRUPT = 1 << 3, VIO_PCI_STATUS_CAPS = 1 << 4 };
enum { VIO_PCI_BARS = 6, VIO_PCI_BAR_64 = 0x4, VIO_PCI_BAR_PREFETCH = 0x8 };
enum { VIO_PCI_CAP_PM = 0x01, VIO_PCI_CAP_VENDOR = 0x09, VIO_PCI_CAP_EXPRESS = 0x10, VIO_PCI_CAP_MSIX = 0x11 };

struct vio_pci_msix_cap {
	uint8_t id, next;
	vio_le16 control;		/* entries - 1, and the two bits below */
	vio_le32 table, pending;	/* offset in a BAR, whose number is in the low 3 bits */
};
enum { VIO_PCI_MSIX_ENABLE = 1 << 15, VIO_PCI_MSIX_MASK_ALL = 1 << 14, VIO_PCI_MSIX_ENTRIES = 2048 };
struct vio_pci_msix_entry { vio_le32 address_low, address_high, data, control; };
enum { VIO_PCI_MSIX_MASKED = 1 };
VIO_STATIC_ASSERT(sizeof(struct vio_pci_msix_cap) == 12 && sizeof(struct vio_pci_msix_entry) == 16, "PCI 3.0, 6.8.2");

struct vio_pci_pm_cap { uint8_t id, next; vio_le16 capabilities, control; uint8_t bridge, data; };
enum { VIO_PCI_PM_VERSION = 3, VIO_PCI_PM_STATE = 3, VIO_PCI_PM_NO_SOFT_RESET = 1 << 3 };

struct vio_pci_express_cap {	/* of a root complex integrated endpoint, version 2 */
	uint8_t id, next;
	vio_le16 capabilities;
	vio_le32 device;
	vio_le16 control, status;
	uint8_t others[48];		/* link, slot, root: 0 */
};
enum { VIO_PCI_EXPRESS_ROOT_ENDPOINT = 9 << 4 | 2, VIO_PCI_EXPRESS_ROLE_ERRORS = 1 << 15, VIO_PCI_EXPRESS_START_RESET = 1 << 15 };
#define VIO_PCI_EXPRESS_CAN_RESET (UINT32_C(1) << 28)
VIO_STATIC_ASSERT(sizeof(struct vio_pci_express_cap) == 60 && sizeof(struct vio_pci_pm_cap) == 8, "PCIe 7.5.2, 7.5.3");

/* ---- 4.1.2: identity ---- */

enum { VIO_PCI_VENDOR = 0x1af4, VIO_PCI_DEVICE_BASE = 0x1040, VIO_PCI_DEVICE_LAST = 0x107f, VIO_PCI_TRANSITIONAL = 0x1000 };

/* ---- 4.1.4: virtio structures ---- */

enum {	/* cfg_type */
	VIO_PCI_CFG_COMMON = 1, VIO_PCI_CFG_NOTIFY = 2, VIO_PCI_CFG_ISR = 3, VIO_PCI_CFG_DEVICE = 4, VIO_PCI_CFG_WINDOW = 5,
	VIO_PCI_CFG_SHARED_MEMORY = 8, VIO_PCI_CFG_VENDOR = 9
};
struct vio_pci_cap { uint8_t id, next, len, cfg_type, bar, shm_id, padding[2]; vio_le32 offset, length; };
struct vio_pci_notify_cap { struct vio_pci_cap cap; vio_le32 multiplier; };
struct vio_pci_cap64 { struct vio_pci_cap cap; vio_le32 offset_high, length_high; };
struct vio_pci_window_cap { struct vio_pci_cap cap; uint8_t data[4]; };
struct vio_pci_vendor_cap { uint8_t id, next, len, cfg_type; vio_le16 vendor; uint8_t data[2]; /* and more, in words of 4 */ };
VIO_STATIC_ASSERT(sizeof(struct vio_pci_cap) == 16 && sizeof(struct vio_pci_cap64) == 24 && sizeof(struct vio_pci_notify_cap) == 20 &&
    sizeof(struct vio_pci_window_cap) == 20 && sizeof(struct vio_pci_vendor_cap) == 8, "4.1.4");

struct vio_pci_common {		/* 4.1.4.3 */
	vio_le32 device_feature_select, device_feature, driver_feature_select, driver_feature;
	vio_le16 config_msix_vector, num_queues;
	uint8_t device_status, config_generation;
	vio_le16 queue_select, queue_size, queue_msix_vector, queue_enable, queue_notify_off;
	vio_le32 queue_desc[2], queue_driver[2], queue_device[2];	/* low, high */
	vio_le16 queue_notif_config_data, queue_reset, admin_queue_index, admin_queue_num;
};
VIO_STATIC_ASSERT(sizeof(struct vio_pci_common) == 64 && offsetof(struct vio_pci_common, queue_desc) == 32, "4.1.4.3");

enum { VIO_PCI_ISR_QUEUE = 1, VIO_PCI_ISR_CONFIG = 2 };		/* 4.1.4.5 */
enum { VIO_PCI_NO_VECTOR = 0xffff };				/* 4.1.5.1.2 */
#endif
