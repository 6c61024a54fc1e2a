/* Between the files of vio scsi: scsi.c (the service), scsi_words.c (units as they are named), scsi_verbs.c (while it runs). */
#ifndef VIO_CMD_SCSI_H
#define VIO_CMD_SCSI_H
#include "control.h"
#include "disk.h"
#include <vio/device/scsi.h>
#include <vio/host/keep.h>

/* A unit as the command line or the control socket names it. */
struct scsi_words {
	char *text;			/* what the rest points into */
	struct vio_scsi_lun lun;	/* all but disk and keep */
	struct vio_disk_words disk;	/* file NULL: a drive without a medium */
	const char *reservations;	/* the file's name; NULL: none */
	bool reservations_beside;	/* named like the image */
};
/* "TARGET:LUN". */
bool scsi_words_address(const char *text, uint8_t *target, uint16_t *lun, char *why);
/* One word, such as file=x or ro; where: what the unit is called in sentences. */
bool scsi_words_take(struct scsi_words *w, const char *where, const char *name, const char *value, char *why);
/* A whole --lun; w->text, which may be cut up, is the caller's to free. */
bool scsi_words_parse(struct scsi_words *w, char *why);
/* What only all words together tell. */
bool scsi_words_check(const struct scsi_words *w, const char *where, char *why);

/* A unit's back ends. */
struct scsi_entry {
	bool used, image;		/* image: a file or block device */
	uint8_t target;
	uint16_t lun;
	struct vio_disk *disk;		/* NULL: an empty drive */
	struct vio_keep *keep;
	char *name;			/* of the image */
	/* The device is asked to let go of it, or of its old medium; call waits for that, if it still does. */
	bool busy, old_image;
	struct vio_disk *old;
	struct vio_unit *unit;
	struct vio_command *call;
	struct vio_task task;
};

enum { SCSI_SPARES = 64 };
struct scsi_host {			/* a unit's (of the process) backend */
	struct scsi_entry entry[VIO_SCSI_LUNS];
	struct vio_disk *spare[SCSI_SPARES];	/* to serve what is added */
	unsigned spares;
};

struct scsi_entry *scsi_entry_at(struct scsi_host *h, uint8_t target, uint16_t lun);	/* NULL: there is none */
/* The disk goes back to the spare ones, or is closed. */
void scsi_let_go(struct scsi_host *h, struct vio_disk *disk, bool image);
void scsi_entry_close(struct scsi_host *h, struct scsi_entry *e);
void scsi_tell_size(struct vio_unit *u, const struct scsi_entry *e, uint64_t before);
void scsi_news(void *arg, uint8_t target, uint16_t lun);
void scsi_stats(struct vio_unit *u, json_t *into);
extern const struct vio_verb scsi_verbs[];
#endif
