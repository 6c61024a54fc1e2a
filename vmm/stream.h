/*
 * The format of a snapshot and of a migration: a head, then records with a checksum each, the last of which is END.
 *
 *     head:    "VIOSTATE", le32 version, le32 architecture
 *     record:  le32 kind, le32 instance, le32 length, le32 checksum (CRC-32C of the three fields and the bytes), bytes
 *
 * Records are short (VMM_RECORD_MAX), so that a reader never holds more than one.  A reader believes nothing: what is cut short, has a
 * wrong checksum or an unknown kind is refused in a sentence.  Integers are little-endian.  docs/state.md says what is in the records.
 */
#ifndef VMM_STREAM_H
#define VMM_STREAM_H
#include <vio/spec/types.h>
#include <vio/host/channel.h>

enum { VMM_STREAM_VERSION = 1, VMM_RECORD_MAX = 1 << 20 };
enum vmm_stream_arch { VMM_STREAM_X86 = 0x8664, VMM_STREAM_ARM64 = 0xaa64 };

enum vmm_record_kind {
	VMM_RECORD_MACHINE = 1,		/* struct vmm_record_machine: what machine it must be */
	VMM_RECORD_MEMORY,		/* le64 address, then whole pages */
	VMM_RECORD_ZEROES,		/* le64 address, le64 bytes: whole pages */
	VMM_RECORD_VCPU,		/* instance: which; the architecture's */
	VMM_RECORD_PLATFORM,		/* the architecture's */
	VMM_RECORD_SERIAL,
	VMM_RECORD_PCI,			/* struct vmm_record_pci */
	VMM_RECORD_DEVICE,		/* instance: slot; struct vmm_record_device, then its two states */
	VMM_RECORD_END,
	/* Between two machines. */
	VMM_RECORD_READY,		/* back: all is loaded, nothing runs */
	VMM_RECORD_REFUSED,		/* back: a sentence */
	VMM_RECORD_GO,			/* forth: it is yours */
	VMM_RECORD_DONE,		/* back: it runs here */
	VMM_RECORD_KINDS
};

struct vmm_record { vio_le32 kind, instance, length, checksum; };

/* ---- Writing ---- */

struct vmm_out {
	struct vio_channel *channel;
	uint64_t bytes;			/* written so far */
	size_t used;
	unsigned char buffer[65536], still[262144];	/* still: what must not change between its checksum and its sending */
	bool failed;
	char why[VIO_WHY];
};
void vmm_out_begin(struct vmm_out *o, struct vio_channel *c, uint32_t arch);
/* A record of two parts, of which either may be empty.  False: it failed, now or before; o->why says why. */
bool vmm_out_put(struct vmm_out *o, uint32_t kind, uint32_t instance, const void *head, size_t head_n, const void *bytes, size_t n);
bool vmm_out_flush(struct vmm_out *o);

/* ---- Reading ---- */

struct vmm_in {
	struct vio_channel *channel;
	uint64_t bytes;
	uint32_t kind, instance, length;	/* the record at hand */
	unsigned char *data;		/* and its bytes */
	char why[VIO_WHY];
};
/* False: why; free all the same. */
bool vmm_in_begin(struct vmm_in *i, struct vio_channel *c, uint32_t arch);
bool vmm_in_next(struct vmm_in *i);
void vmm_in_free(struct vmm_in *i);

/* CRC-32C, going on from crc (0 at the beginning). */
uint32_t vmm_crc(uint32_t crc, const void *bytes, size_t n);
#endif
