/*
 * ACPI's byte code (ACPI 6.4, chapter 20), written from the front.  What holds others is opened and closed:
 *
 *     size_t device = vmm_aml_device(a, "COM1");
 *     vmm_aml_name(a, "_HID"), vmm_aml_eisa(a, "PNP0501");
 *     vmm_aml_close(a, device);
 *
 * Names have four letters; "\\" before one means the root.  What does not fit is left out and full says so at the end.
 */
#ifndef VMM_X86_AML_H
#define VMM_X86_AML_H
#include <vio/spec/types.h>

struct vmm_aml { unsigned char *to; size_t room, used; bool full; };

void vmm_aml_bytes(struct vmm_aml *a, const void *bytes, size_t n);
void vmm_aml_byte(struct vmm_aml *a, unsigned value);
void vmm_aml_number(struct vmm_aml *a, uint64_t value, unsigned bytes);	/* little-endian, without an opcode */

/* Objects. */
void vmm_aml_int(struct vmm_aml *a, uint64_t value);
void vmm_aml_string(struct vmm_aml *a, const char *value);
void vmm_aml_eisa(struct vmm_aml *a, const char *id);			/* "PNP0501" as a number */
void vmm_aml_name_string(struct vmm_aml *a, const char *name);		/* a name, used */
void vmm_aml_name(struct vmm_aml *a, const char *name);			/* Name (name, the object that follows) */

/* Opened here, closed by vmm_aml_close() with what this gave. */
size_t vmm_aml_scope(struct vmm_aml *a, const char *name);
size_t vmm_aml_device(struct vmm_aml *a, const char *name);
size_t vmm_aml_method(struct vmm_aml *a, const char *name, unsigned arguments);	/* serialized */
size_t vmm_aml_package(struct vmm_aml *a, unsigned elements);
size_t vmm_aml_if(struct vmm_aml *a);					/* the predicate follows */
void vmm_aml_close(struct vmm_aml *a, size_t opened);

/* Statements and expressions; their operands follow. */
enum vmm_aml_op {
	VMM_AML_LOCAL0 = 0x60,		/* ... 7 */
	VMM_AML_ARG0 = 0x68,		/* ... 6 */
	VMM_AML_STORE = 0x70,		/* value, target */
	VMM_AML_AND = 0x7b,		/* a, b, target (0: none) */
	VMM_AML_NOTIFY = 0x86,		/* object, value */
	VMM_AML_EQUAL = 0x93,		/* a, b */
};

/* I/O ports as fields of 32 bits, accessed as such, in this order. */
void vmm_aml_ports(struct vmm_aml *a, const char *region, unsigned port, const char *const *field, unsigned fields);

/* Resources: _CRS = what stands between the two. */
size_t vmm_aml_resources(struct vmm_aml *a);
void vmm_aml_resources_end(struct vmm_aml *a, size_t opened);
void vmm_aml_io(struct vmm_aml *a, unsigned port, unsigned ports);
void vmm_aml_memory(struct vmm_aml *a, uint64_t base, uint64_t bytes);	/* used by the device itself */
enum { VMM_AML_EDGE = 2, VMM_AML_LOW = 4, VMM_AML_SHARED = 8 };		/* else: level, high, exclusive */
void vmm_aml_interrupt(struct vmm_aml *a, unsigned gsi, unsigned flags);
void vmm_aml_bus(struct vmm_aml *a, unsigned first, unsigned last);
void vmm_aml_window(struct vmm_aml *a, uint64_t base, uint64_t bytes);	/* memory that a bridge passes on */
#endif
