/*
 * Between the files of the SCSI device.
 *
 *   scsi.c           the type: life, config space, queues
 *   scsi_unit.c      logical units: found, added, removed, drained; what they have to tell
 *   scsi_task.c      a request from its chain to its answer: addresses, sense data, steps of the disk, threads
 *   scsi_command.c   the commands there are, what may stand in the way of one, and which of them it is
 *   scsi_tmf.c       the control queue: task management      scsi_event.c    the event queue
 *   scsi_inquiry.c   what a unit says of itself              scsi_mode.c     mode and log pages
 *   scsi_block.c     read, write, flush                      scsi_range.c    ranges: unmap, write same, verify, compare
 *   scsi_medium.c    start, stop, eject, lock                scsi_mmc.c      what only a CD-ROM drive has
 *   scsi_reserve.c   persistent reservations                 scsi_pi.c       protection information
 *
 * Threads: a request belongs to the thread of its queue, from pop to push.  What units share between threads is single atomic
 * words (enum unit_flag, enum attention, barred, blocks); everything else about a unit belongs to the home thread, and a
 * request that needs it goes there and comes back (vio_scsi_dev_home()).
 */
#ifndef VIO_DEVICE_SCSI_IMPL_H
#define VIO_DEVICE_SCSI_IMPL_H
#include <vio/device/scsi.h>
#include <vio/ring/freestanding.h>
#include <vio/spec/scsi_cmd.h>

enum {
	SCSI_CDB = 32,				/* bytes of a CDB that are looked at */
	SCSI_SCRATCH = 64 << 10,		/* a queue's buffer, for what is compared and repeated */
	SCSI_TURN_BYTES = 1 << 20,		/* a queue that has moved so much in a turn lets others have theirs */
	SCSI_UNMAP_RANGES = 32,			/* of one UNMAP */
	SCSI_UNMAP_SECTORS = 1 << 20,		/* of one UNMAP: 512 MiB, so that one request is not endless (libiscsi wants no more) */
	SCSI_SAME_BYTES = 64 << 20,		/* of one WRITE SAME */
	SCSI_TMFS = 16,				/* task management functions at a time */
	SCSI_EVENTS = 32,			/* that may wait for buffers */
	SCSI_TELL = 4096			/* bytes of the longest answer that is made at once */
};

struct scsi;
struct scsi_req;

/* ---- Units ---- */

enum unit_flag {
	UNIT_HERE = 1,				/* commands find it */
	UNIT_MEDIUM = 2,			/* a medium is in the drive (a disk that is not removable always has one) */
	UNIT_OPEN = 4,				/* the tray */
	UNIT_STOPPED = 8,
	UNIT_LOCKED = 16,			/* PREVENT ALLOW MEDIUM REMOVAL */
	UNIT_WCE = 32, UNIT_D_SENSE = 64, UNIT_SWP = 128,	/* what mode pages can change */
	UNIT_MODES = UNIT_WCE | UNIT_D_SENSE | UNIT_SWP
};

enum attention {				/* in the order in which they are told */
	ATTENTION_POWER_ON, ATTENTION_RESET, ATTENTION_NEXUS_LOSS, ATTENTION_MEDIUM, ATTENTION_LUNS, ATTENTION_CAPACITY,
	ATTENTION_MODE, ATTENTION_PREEMPTED, ATTENTION_RELEASED, ATTENTION_UNREGISTERED,
	ATTENTIONS
};

enum { BARRED_READ = 1, BARRED_WRITE = 2, BARRED_OTHER = 4 };	/* what somebody else's reservation forbids us */

enum { MEDIA_EJECT_REQUEST = 1, MEDIA_NEW = 2, MEDIA_REMOVED = 3 };	/* MMC: media events */

/* A unit as one request queue uses it: that queue's thread's, but the counters are read by others. */
struct scsi_lane {
	struct vio_disk_chan *chan;		/* NULL: not needed yet */
	struct scsi_lane *touched_next;		/* channels to be flushed at the end of the turn */
	uint32_t inflight;
	bool touched, draining;
	uint64_t commands, bytes_read, bytes_written, failed, conflicts, aborted;
	struct scsi_unit *unit;
	struct vio_dev_call call;
	uint8_t apart[64];			/* neighbours have other threads */
};

struct scsi_registrant { char name[64]; uint64_t key; };	/* name is NUL-padded */
enum { SCSI_REGISTRANTS = 64 };
struct scsi_pr {				/* persistent reservations, as this device last saw them */
	uint32_t generation, count;
	struct scsi_registrant who[SCSI_REGISTRANTS];
	char holder[64];
	uint8_t type;				/* 0: none */
	bool aptpl;
	uint8_t last_action;			/* the last change, and by whom it was made: for requests that come twice */
	uint64_t last_id, last_digest;
	char last_name[64];
};

struct scsi_unit {
	struct scsi *s;
	struct vio_scsi_lun o;
	uint8_t type;				/* peripheral device type */
	bool read_only, can_unmap, can_zero;
	uint8_t shift;				/* bytes of a block = 1 << shift */
	uint64_t blocks;			/* atomic */
	uint32_t flags, attention, barred;	/* atomic; enum unit_flag, bits of enum attention, BARRED_* */
	uint32_t media_event;			/* atomic */
	uint64_t keep_version;			/* atomic: what barred and pr were made of */
	/* The home thread's. */
	struct vio_disk *disk;
	bool leaving;
	unsigned draining;			/* queues that have not answered */
	void (*drained)(struct scsi_unit *u);
	void (*gone)(void *arg);
	void *gone_arg;
	struct vio_disk *next_disk;
	struct scsi_pr pr;
	struct scsi_req *compare_first, **compare_last;	/* COMPARE AND WRITE: one at a time */
	bool comparing;
	struct scsi_lane lane[VIO_SCSI_REQUEST_QUEUES];
};

static inline uint32_t scsi_flags(const struct scsi_unit *u) { return __atomic_load_n(&u->flags, __ATOMIC_ACQUIRE); }
static inline void scsi_set(struct scsi_unit *u, uint32_t f) { __atomic_fetch_or(&u->flags, f, __ATOMIC_RELEASE); }
static inline void scsi_clear(struct scsi_unit *u, uint32_t f) { __atomic_fetch_and(&u->flags, ~f, __ATOMIC_RELEASE); }
static inline uint64_t scsi_blocks(const struct scsi_unit *u) { return __atomic_load_n(&u->blocks, __ATOMIC_RELAXED); }
static inline uint32_t scsi_block_bytes(const struct scsi_unit *u) { return UINT32_C(1) << u->shift; }
static inline void scsi_attention(struct scsi_unit *u, enum attention a)
{
	__atomic_fetch_or(&u->attention, UINT32_C(1) << a, __ATOMIC_RELAXED);
}
static inline void scsi_count(uint64_t *counter, uint64_t n)	/* written by one thread, read by others */
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

/* ---- Requests ---- */

struct scsi_command;

/* What CHECK CONDITION tells. */
struct scsi_sense {
	uint8_t key;
	uint16_t asc;				/* VIO_ASC_* */
	bool has_information, has_field, field_in_cdb, has_bit;
	uint8_t bit;
	uint16_t field;
	uint64_t information;
};

enum scsi_lun_kind { LUN_UNIT, LUN_WELL_KNOWN, LUN_ALL_TARGETS, LUN_BAD };

struct scsi_range { uint64_t lba; uint32_t blocks; };

struct scsi_req {
	struct vio_chain chain;			/* its cursors stay where they were */
	struct vio_disk_io io;
	struct vio_devq *q;
	struct scsi_unit *unit;			/* NULL: none, or a well-known one */
	const struct scsi_command *command;
	uint64_t id;
	uint32_t address;			/* target << 16 | lun */
	uint32_t sense_size;
	uint8_t cdb[SCSI_CDB];
	uint8_t status, response;
	uint8_t kind;				/* enum scsi_lun_kind */
	uint8_t ending;				/* the response it will get whatever it does: it has been aborted */
	bool io_live, waiting, locked, has_scratch, replayed, bad;
	uint16_t tmfs;				/* bit i: task management function i waits for its end */
	struct vio_cur out, in;			/* data out, data in */
	struct vio_cur pi_out, pi_in;
	uint64_t data_bytes;			/* of both */
	uint64_t moved_out, moved_in, told_pi;
	struct scsi_sense sense;
	void (*step)(struct scsi_req *r, int error);	/* what comes after the disk */
	void (*at_home)(struct scsi_req *r), (*then)(struct scsi_req *r);
	struct vio_dev_call call;
	struct scsi_req *next;			/* in a list of those that wait */
	/* A command's own. */
	uint64_t lba, blocks, at;
	struct vio_seg scratch_seg;
	struct vio_cur compare;
	bool compare_again;
	uint8_t parameters[24];			/* PERSISTENT RESERVE OUT */
	uint8_t ranges, range_at;
	struct scsi_range range[SCSI_UNMAP_RANGES];
};

/* A command of the table in scsi_command.c. */
enum {
	ON_DISK = 1, ON_CDROM = 2, ON_BOTH = 3, ON_WELL_KNOWN = 4, ON_NOTHING = 8,	/* where there is this command */
	NEEDS_MEDIUM = 16, IGNORES_ATTENTION = 32, WRITES = 64, NEEDS_UNMAP = 128, NEEDS_READY = 256,
	/* Which reservations of others stand in its way. */
	BAR_READ = 512, BAR_WRITE = 1024, BAR_OTHER = 2048,
	NEEDS_REMOVABLE = 4096
};
struct scsi_command {
	uint8_t op;
	uint8_t action;				/* the service action, or NO_ACTION */
	uint16_t flags;
	void (*run)(struct scsi_req *r);
	uint8_t usage[15];			/* bits of the CDB that mean something, from byte 1 on; told by REPORT SUPPORTED OPERATION CODES */
};
enum { NO_ACTION = 0xff };

/* ---- The device ---- */

struct scsi_loop { struct scsi_req *r; bool again, inside, finished; int error; };

struct scsi_queue {				/* a request queue's own; its thread's */
	unsigned char *scratch;
	struct scsi_req *scratch_user, *scratch_first, **scratch_last;
	struct scsi_loop *loop;			/* the request whose steps follow each other right now */
	struct scsi_lane *touched;
	uint32_t moved;				/* bytes, in this turn */
	struct scsi_tmf_part {
		struct scsi *s;
		uint8_t lane, slot;
		bool found;
		uint32_t left;			/* requests that have not ended */
		struct vio_dev_call call;
	} tmf[SCSI_TMFS];
	uint8_t apart[64];			/* neighbours have other threads */
};

struct scsi_tmf_work {				/* the home thread's */
	struct scsi_req *r;			/* the request in the control queue; NULL: free */
	struct scsi *s;
	uint32_t subtype;
	uint32_t address;
	bool whole_target, found;
	uint64_t id;
	uint8_t response;			/* for those it aborts */
	unsigned waiting;			/* queues that have not answered */
};

struct scsi_event_due { uint32_t event, reason, address; };

struct scsi {
	struct vio_dev dev;
	struct vio_scsi_config config;
	uint64_t sizes;				/* atomic: cdb_size << 32 | sense_size */
	uint16_t queues;			/* request queues */
	enum vio_scsi_pi pi;
	char initiator[64];
	void (*news)(void *arg, uint8_t target, uint16_t lun);
	void *news_arg;
	struct scsi_tmf_work tmf[SCSI_TMFS];
	struct scsi_event_due event[SCSI_EVENTS];
	unsigned event_at, events;
	bool events_missed;
	uint64_t missed;
	struct scsi_queue queue[VIO_SCSI_REQUEST_QUEUES];
	uint32_t key[VIO_SCSI_LUNS];		/* atomic; KEY_NONE, KEY_GONE, or KEY_OF(address): unit[i] is at that address */
	struct scsi_unit unit[VIO_SCSI_LUNS];
};
enum { KEY_NONE = 0, KEY_GONE = 1 };
#define KEY_OF(address) ((address) + 2)
#define ADDRESS_OF(target, lun) ((uint32_t)(target) << 16 | (uint32_t)(lun))

static inline struct scsi *scsi_of(struct vio_dev *d) { return (struct scsi *)d; }
static inline struct scsi *scsi_of_req(const struct scsi_req *r) { return (struct scsi *)r->q->dev; }
static inline unsigned scsi_lane_of(const struct scsi_req *r) { return r->q->index - VIO_SCSI_Q_REQUEST; }
static inline struct scsi_queue *scsi_queue_of(const struct scsi_req *r) { return &scsi_of_req(r)->queue[scsi_lane_of(r)]; }
static inline struct vio_devq *scsi_ring(struct scsi *s, unsigned lane) { return &s->dev.queue[lane + VIO_SCSI_Q_REQUEST].ring; }
static inline uint64_t scsi_least(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* ---- scsi_unit.c ---- */

struct scsi_unit *vio_scsi_dev_find(struct scsi *s, uint32_t address);	/* any thread */
bool vio_scsi_dev_has_target(struct scsi *s, unsigned target);		/* any thread */
/* The units there are, in order of their slots, from *i on; NULL: no more. */
struct scsi_unit *vio_scsi_dev_next_unit(struct scsi *s, unsigned *i);
const char *vio_scsi_dev_new_unit(struct scsi *s, const struct vio_scsi_lun *o, struct scsi_unit **made);
/* All queues give up what they have of the unit, then drained() is called. */
void vio_scsi_dev_drain(struct scsi_unit *u, void (*drained)(struct scsi_unit *u));
/* In a queue's thread: its last request has ended while it is drained. */
void vio_scsi_dev_lane_emptied(struct scsi_unit *u, unsigned lane);
void vio_scsi_dev_lane_close(struct scsi_queue *sq, struct scsi_lane *l);
/* As after power on or a reset. */
void vio_scsi_dev_unit_reset(struct scsi_unit *u, enum attention why);
void vio_scsi_dev_close_units(struct scsi *s);
void vio_scsi_dev_news(struct scsi_unit *u);
/* Take the medium's size and abilities over. */
void vio_scsi_dev_unit_medium(struct scsi_unit *u, struct vio_disk *disk);

/* ---- scsi_task.c ---- */

void vio_scsi_dev_begin(struct scsi *s, struct vio_devq *q, struct vio_chain *c);
/* The address of an 8-byte LUN: a unit's, or a well-known one's, or none. */
enum scsi_lun_kind vio_scsi_dev_lun(const uint8_t lun[8], uint32_t *address);
/* A request's end: exactly one of these. */
void vio_scsi_dev_end(struct scsi_req *r);		/* as r->status, sense and response say */
void vio_scsi_dev_good(struct scsi_req *r);
void vio_scsi_dev_check(struct scsi_req *r, uint8_t key, uint16_t asc);
void vio_scsi_dev_bad_cdb(struct scsi_req *r, unsigned byte, int bit);	/* INVALID FIELD IN CDB; bit -1: the whole byte */
void vio_scsi_dev_bad_parameter(struct scsi_req *r, unsigned byte, int bit);
void vio_scsi_dev_fail(struct scsi_req *r, uint8_t response);	/* no SCSI status */
void vio_scsi_dev_failed(struct scsi_req *r, int error);	/* the disk said so; r->io is what it failed at */
/* The same, of a request that is yet to be ended: in the home thread. */
void vio_scsi_dev_say(struct scsi_req *r, uint8_t key, uint16_t asc);
void vio_scsi_dev_say_parameter(struct scsi_req *r, unsigned byte, int bit);
void vio_scsi_dev_say_data(struct scsi_req *r, const void *bytes, size_t n, uint64_t alloc);
/* n bytes of answer, of which the initiator wants at most alloc. */
void vio_scsi_dev_tell(struct scsi_req *r, const void *bytes, size_t n, uint64_t alloc);
/* n bytes of parameters.  False: there are not so many, and the request has ended. */
bool vio_scsi_dev_take(struct scsi_req *r, void *to, size_t n);
/* Submit r->io, then step.  False: the unit has no channel here, and the request has ended. */
bool vio_scsi_dev_submit(struct scsi_req *r, void (*step)(struct scsi_req *r, int error));
/* In the home thread, then back. */
void vio_scsi_dev_home(struct scsi_req *r, void (*at_home)(struct scsi_req *r), void (*then)(struct scsi_req *r));
/* Go home and stay until vio_scsi_dev_back(). */
void vio_scsi_dev_go_home(struct scsi_req *r, void (*at_home)(struct scsi_req *r), void (*then)(struct scsi_req *r));
void vio_scsi_dev_back(struct scsi_req *r);
/* The queue's scratch buffer, then then(). */
void vio_scsi_dev_scratch(struct scsi_req *r, void (*then)(struct scsi_req *r));
/* In the queue's thread: end soon with response. */
void vio_scsi_dev_abort(struct scsi_req *r, uint8_t response);
size_t vio_scsi_dev_sense_bytes(const struct scsi_sense *sense, bool descriptors, uint8_t to[static 36]);

/* ---- scsi_command.c ---- */

void vio_scsi_dev_dispatch(struct scsi_req *r);
unsigned vio_scsi_dev_cdb_bytes(uint8_t op);	/* 0: no such group */
/* The pending unit attention told first, if there is one (and it is no more). */
bool vio_scsi_dev_take_attention(struct scsi_unit *u, struct scsi_sense *sense);
void vio_scsi_do_report_opcodes(struct scsi_req *r);
void vio_scsi_do_report_tmf(struct scsi_req *r);
void vio_scsi_do_test_unit_ready(struct scsi_req *r);
void vio_scsi_do_request_sense(struct scsi_req *r);

/* ---- scsi_tmf.c, scsi_event.c ---- */

void vio_scsi_dev_control(struct scsi *s, struct vio_devq *q);
void vio_scsi_dev_tmf_ended(struct scsi_req *r);	/* a request that functions waited for has ended */
void vio_scsi_dev_events(struct scsi *s, struct vio_devq *q);
void vio_scsi_dev_event(struct scsi *s, uint32_t event, uint32_t address, uint32_t reason);

/* ---- commands ---- */

void vio_scsi_do_inquiry(struct scsi_req *r);
void vio_scsi_do_report_luns(struct scsi_req *r);
void vio_scsi_do_read_capacity_10(struct scsi_req *r);
void vio_scsi_do_read_capacity_16(struct scsi_req *r);
void vio_scsi_do_mode_sense(struct scsi_req *r);
void vio_scsi_do_mode_select(struct scsi_req *r);
void vio_scsi_do_log_sense(struct scsi_req *r);
void vio_scsi_do_read(struct scsi_req *r);
void vio_scsi_do_write(struct scsi_req *r);
void vio_scsi_do_synchronize_cache(struct scsi_req *r);
void vio_scsi_do_verify(struct scsi_req *r);
void vio_scsi_do_write_and_verify(struct scsi_req *r);
void vio_scsi_do_send_diagnostic(struct scsi_req *r);
void vio_scsi_do_unmap(struct scsi_req *r);
void vio_scsi_do_write_same(struct scsi_req *r);
void vio_scsi_do_compare_and_write(struct scsi_req *r);
void vio_scsi_do_get_lba_status(struct scsi_req *r);
void vio_scsi_do_start_stop(struct scsi_req *r);
void vio_scsi_do_prevent_allow(struct scsi_req *r);
void vio_scsi_do_reserve_in(struct scsi_req *r);
void vio_scsi_do_reserve_out(struct scsi_req *r);
void vio_scsi_do_read_toc(struct scsi_req *r);
void vio_scsi_do_get_configuration(struct scsi_req *r);
void vio_scsi_do_get_event_status(struct scsi_req *r);
void vio_scsi_do_read_disc_information(struct scsi_req *r);
void vio_scsi_do_read_track_information(struct scsi_req *r);
void vio_scsi_do_mechanism_status(struct scsi_req *r);
void vio_scsi_do_seek(struct scsi_req *r);
void vio_scsi_do_set_speed(struct scsi_req *r);
void vio_scsi_do_read_cd(struct scsi_req *r);
void vio_scsi_do_read_dvd_structure(struct scsi_req *r);

/* LBA and number of blocks of a CDB, by its length. */
void vio_scsi_dev_extent(const uint8_t *cdb, uint64_t *lba, uint64_t *blocks);
/* Do these blocks exist?  False: the request has ended. */
bool vio_scsi_dev_on_medium(struct scsi_req *r, uint64_t lba, uint64_t blocks);
/* Commands that take no protection information: is the CDB's field 0?  False: the request has ended. */
bool vio_scsi_dev_protect_ok(struct scsi_req *r);
/* Those that do: is there enough of it?  False: the request has ended. */
bool vio_scsi_dev_pi_ok(struct scsi_req *r, struct vio_cur *pi);
bool vio_scsi_dev_pi_check(struct scsi_req *r);
void vio_scsi_dev_pi_make(struct scsi_req *r);

void vio_scsi_dev_compare_over(struct scsi_req *r);	/* r->locked: the next COMPARE AND WRITE's turn */

/* ---- scsi_reserve.c ---- */

/* A new unit's: NULL, or why its keep is no good. */
const char *vio_scsi_dev_reserve_open(struct scsi_unit *u);
/* What this device is barred from, from the kept state as it is now; home thread. */
void vio_scsi_dev_reserve_refresh(struct scsi_unit *u);
bool vio_scsi_dev_reserve_stale(const struct scsi_unit *u);	/* any thread */

#endif
