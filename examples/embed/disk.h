/* The disk as the emulator sees it. */
#ifndef DISK_H
#define DISK_H
#include <stdbool.h>
#include <stdint.h>

/* The guest's memory: size bytes at guest_ram, which the guest sees from address at.  NULL, or why not. */
const char *disk_start(void *guest_ram, uint64_t at, uint64_t size);
/* Accesses to the disk's page, width 1, 2, 4 or 8. */
uint64_t disk_read(uint64_t at, unsigned width);
void disk_write(uint64_t at, unsigned width, uint64_t value);
/* The interrupt line. */
bool disk_line(void);
#endif
