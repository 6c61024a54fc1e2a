#include <vmm/x86/aml.h>
#include <string.h>

enum { NAME = 0x08, BYTE = 0x0a, WORD, DWORD, STRING, QWORD, SCOPE = 0x10, BUFFER, PACKAGE, METHOD = 0x14, EXT = 0x5b, IF = 0xa0 };
enum { EXT_REGION = 0x80, EXT_FIELD = 0x81, EXT_DEVICE = 0x82 };
enum { SYSTEM_IO = 1, DWORD_ACCESS = 3 };
enum { LENGTH = 3 };	/* bytes of a package length: always three, so that none has to move when one is closed */

/* ---- Bytes ---- */

void vmm_aml_bytes(struct vmm_aml *a, const void *bytes, size_t n)
{
	if (a->full || n > a->room - a->used) {
		a->full = true;
		return;
	}
	memcpy(a->to + a->used, bytes, n);
	a->used += n;
}

void vmm_aml_number(struct vmm_aml *a, uint64_t value, unsigned bytes)
{
	vio_le64 v = vio_le64_of(value);

	vmm_aml_bytes(a, &v, bytes);
}

void vmm_aml_byte(struct vmm_aml *a, unsigned value)
{
	vmm_aml_number(a, value, 1);
}

/* The length counts its own bytes; its lowest four bits are in the first. */
static size_t open(struct vmm_aml *a)
{
	size_t here = a->used;

	vmm_aml_number(a, 0, LENGTH);
	return here;
}

void vmm_aml_close(struct vmm_aml *a, size_t opened)
{
	size_t n = a->used - opened;

	if (a->full || n >> 20) {
		a->full = true;
		return;
	}
	a->to[opened] = (unsigned char)(0x80 | (n & 15));
	a->to[opened + 1] = (unsigned char)(n >> 4);
	a->to[opened + 2] = (unsigned char)(n >> 12);
}

/* ---- Objects ---- */

void vmm_aml_int(struct vmm_aml *a, uint64_t value)
{
	if (value <= 1) {
		vmm_aml_byte(a, (unsigned)value);	/* ZeroOp, OneOp */
	} else if (value <= UINT8_MAX) {
		vmm_aml_byte(a, BYTE);
		vmm_aml_number(a, value, 1);
	} else if (value <= UINT16_MAX) {
		vmm_aml_byte(a, WORD);
		vmm_aml_number(a, value, 2);
	} else if (value <= UINT32_MAX) {
		vmm_aml_byte(a, DWORD);
		vmm_aml_number(a, value, 4);
	} else {
		vmm_aml_byte(a, QWORD);
		vmm_aml_number(a, value, 8);
	}
}

void vmm_aml_string(struct vmm_aml *a, const char *value)
{
	vmm_aml_byte(a, STRING);
	vmm_aml_bytes(a, value, strlen(value) + 1);
}

/* Three letters of five bits and four hexadecimal digits, the highest first. */
void vmm_aml_eisa(struct vmm_aml *a, const char *id)
{
	unsigned v = (unsigned)(id[0] - 0x40) << 26 | (unsigned)(id[1] - 0x40) << 21 | (unsigned)(id[2] - 0x40) << 16;

	for (unsigned i = 0; i < 4; i++) {
		char c = id[3 + i];
		v |= (unsigned)(c <= '9' ? c - '0' : c - 'A' + 10) << (12 - 4 * i);
	}
	vmm_aml_byte(a, DWORD);
	for (unsigned i = 0; i < 4; i++)
		vmm_aml_byte(a, v >> (24 - 8 * i) & 0xff);
}

void vmm_aml_name_string(struct vmm_aml *a, const char *name)
{
	vmm_aml_bytes(a, name, *name == '\\' ? 5 : 4);
}

void vmm_aml_name(struct vmm_aml *a, const char *name)
{
	vmm_aml_byte(a, NAME);
	vmm_aml_name_string(a, name);
}

/* ---- What holds others ---- */

size_t vmm_aml_scope(struct vmm_aml *a, const char *name)
{
	vmm_aml_byte(a, SCOPE);
	size_t here = open(a);
	vmm_aml_name_string(a, name);
	return here;
}

size_t vmm_aml_device(struct vmm_aml *a, const char *name)
{
	vmm_aml_byte(a, EXT);
	vmm_aml_byte(a, EXT_DEVICE);
	size_t here = open(a);
	vmm_aml_name_string(a, name);
	return here;
}

size_t vmm_aml_method(struct vmm_aml *a, const char *name, unsigned arguments)
{
	vmm_aml_byte(a, METHOD);
	size_t here = open(a);
	vmm_aml_name_string(a, name);
	vmm_aml_byte(a, arguments | 8);
	return here;
}

size_t vmm_aml_package(struct vmm_aml *a, unsigned elements)
{
	vmm_aml_byte(a, PACKAGE);
	size_t here = open(a);
	vmm_aml_byte(a, elements);
	return here;
}

size_t vmm_aml_if(struct vmm_aml *a)
{
	vmm_aml_byte(a, IF);
	return open(a);
}

void vmm_aml_ports(struct vmm_aml *a, const char *region, unsigned port, const char *const *field, unsigned fields)
{
	vmm_aml_byte(a, EXT);
	vmm_aml_byte(a, EXT_REGION);
	vmm_aml_name_string(a, region);
	vmm_aml_byte(a, SYSTEM_IO);
	vmm_aml_int(a, port);
	vmm_aml_int(a, 4 * fields);
	vmm_aml_byte(a, EXT);
	vmm_aml_byte(a, EXT_FIELD);
	size_t here = open(a);
	vmm_aml_name_string(a, region);
	vmm_aml_byte(a, DWORD_ACCESS);
	for (unsigned i = 0; i < fields; i++) {
		vmm_aml_name_string(a, field[i]);
		vmm_aml_byte(a, 32);	/* bits: a length in the form of one byte */
	}
	vmm_aml_close(a, here);
}

/* ---- Resources (6.4) ---- */

/* A buffer, which has its length twice: with and without what stands before its bytes. */
size_t vmm_aml_resources(struct vmm_aml *a)
{
	vmm_aml_name(a, "_CRS");
	vmm_aml_byte(a, BUFFER);
	size_t here = open(a);
	vmm_aml_byte(a, WORD);
	vmm_aml_number(a, 0, 2);
	return here;
}

void vmm_aml_resources_end(struct vmm_aml *a, size_t opened)
{
	vmm_aml_byte(a, 0x79);		/* the end tag, and a checksum of 0: none */
	vmm_aml_byte(a, 0);
	vmm_aml_close(a, opened);
	if (a->full)
		return;
	size_t n = a->used - opened - LENGTH - 3;
	a->to[opened + LENGTH + 1] = (unsigned char)n;
	a->to[opened + LENGTH + 2] = (unsigned char)(n >> 8);
}

void vmm_aml_io(struct vmm_aml *a, unsigned port, unsigned ports)
{
	vmm_aml_byte(a, 0x47);
	vmm_aml_byte(a, 1);		/* 16 address lines */
	vmm_aml_number(a, port, 2);
	vmm_aml_number(a, port, 2);
	vmm_aml_byte(a, 1);
	vmm_aml_byte(a, ports);
}

/* Address space descriptors: QWord, DWord and Word are one form with numbers of 8, 4 and 2 bytes. */
static void space(struct vmm_aml *a, unsigned width, unsigned type, unsigned flags, unsigned type_flags, uint64_t first,
	uint64_t last)
{
	vmm_aml_byte(a, width == 8 ? 0x8a : width == 4 ? 0x87 : 0x88);
	vmm_aml_number(a, 3 + 5 * width, 2);
	vmm_aml_byte(a, type);
	vmm_aml_byte(a, flags);
	vmm_aml_byte(a, type_flags);
	vmm_aml_number(a, 0, width);
	vmm_aml_number(a, first, width);
	vmm_aml_number(a, last, width);
	vmm_aml_number(a, 0, width);
	vmm_aml_number(a, last - first + 1, width);
}

enum { CONSUMER = 1, FIXED = 0xc };	/* fixed: both ends */

void vmm_aml_memory(struct vmm_aml *a, uint64_t base, uint64_t bytes)
{
	if (base + (bytes - 1) > UINT32_MAX) {
		space(a, 8, 0, CONSUMER | FIXED, 1, base, base + (bytes - 1));
		return;
	}
	vmm_aml_byte(a, 0x86);		/* Memory32Fixed */
	vmm_aml_number(a, 9, 2);
	vmm_aml_byte(a, 1);
	vmm_aml_number(a, base, 4);
	vmm_aml_number(a, bytes, 4);
}

void vmm_aml_window(struct vmm_aml *a, uint64_t base, uint64_t bytes)
{
	space(a, base + (bytes - 1) > UINT32_MAX ? 8 : 4, 0, FIXED, 1, base, base + (bytes - 1));
}

void vmm_aml_bus(struct vmm_aml *a, unsigned first, unsigned last)
{
	space(a, 2, 2, FIXED, 0, first, last);
}

void vmm_aml_interrupt(struct vmm_aml *a, unsigned gsi, unsigned flags)
{
	vmm_aml_byte(a, 0x89);		/* Extended Interrupt */
	vmm_aml_number(a, 6, 2);
	vmm_aml_byte(a, CONSUMER | flags);
	vmm_aml_byte(a, 1);
	vmm_aml_number(a, gsi, 4);
}
