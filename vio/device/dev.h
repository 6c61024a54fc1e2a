/*
 * The device core: a virtio device as every transport sees it (virtio 1.4, chapters 2 and 3).
 *
 * A device TYPE is one const table (struct vio_dev_type, device/table.c).  An INSTANCE is a struct that begins with struct
 * vio_dev.  A TRANSPORT supplies struct vio_port_ops.  Neither knows the other.
 *
 * Per queue there are three primitives, used by every transport: start, enable, stop.  The status machine of the
 * specification is a shim over them (vio_dev_set_status and friends, device/status.c), used by loop, mmio and pci;
 * vhost-user drives the primitives directly.  Stop is asynchronous, the one path for stop, reset, queue reset, suspend,
 * save: pop no more, cancel, let what is in flight end, then answer.
 *
 * Threads: the device-level functions are called in the device's home thread, the queue-level ones in the thread the queue
 * belongs to (often the same one).  There is no lock: see docs/device.md.
 */
#ifndef VIO_DEVICE_DEV_H
#define VIO_DEVICE_DEV_H
#include <vio/ring/devq.h>
#include <vio/spec/device.h>
VIO_BEGIN_DECLS

struct vio_dev;
struct vio_dev_admin_type;
enum { VIO_DEV_QUEUES = 64 };		/* of one device */
enum { VIO_DEV_CONFIG_MAX = 256 };	/* bytes of config space */
enum { VIO_DEV_TURN = 256 };		/* chains a queue may pop before others get their turn */

enum vio_backend_kind {
	VIO_BACKEND_NONE, VIO_BACKEND_DISK, VIO_BACKEND_SOURCE, VIO_BACKEND_LINK, VIO_BACKEND_STREAM, VIO_BACKEND_TREE,
	VIO_BACKEND_PAGES, VIO_BACKEND_EVENTS, VIO_BACKEND_DIAL
};

/*
 * Queues that another process serves (vio/vhost/remote.h): never popped here.  A queue that runs is then VIO_QUEUE_ELSEWHERE,
 * and a turn of it is a kick.  Home thread.
 */
struct vio_dev_elsewhere {
	struct vio_features carries;	/* device-independent features that whoever serves the queues has: no others are offered */
	/* Serve it from base on: d->queue[queue] has its size and addresses, which lie in d->mem.  NULL, or why not. */
	const char *(*start)(struct vio_dev *d, unsigned queue, uint32_t base);
	/* Nothing is in flight any more; where it stands.  drop: the driver has gone. */
	uint32_t (*stop)(struct vio_dev *d, unsigned queue, bool drop);
	void (*kick)(struct vio_dev *d, unsigned queue);
};

struct vio_dev_type {
	const char *name;		/* "blk": the subcommand, the test, the fuzz target */
	uint32_t id;
	const unsigned char *features;	/* device-specific bit numbers the type knows, */
	unsigned features_count;
	const struct vio_feature_need *needs;	/* and what they need */
	uint16_t config_len;
	const uint8_t *config_writable;	/* config_len bytes, 0xff where a driver may write; NULL: nowhere */
	uint16_t queue_size_max;
	size_t instance;		/* sizeof the struct that begins with struct vio_dev */
	size_t request;			/* sizeof the struct that begins with struct vio_chain */
	/* Queues whose requests a rate limit does not count, such as control queues; NULL: none. */
	bool (*unlimited)(const struct vio_dev *d, unsigned queue);
	/*
	 * Queues that may run in different threads: which lane a queue is in; queues of one lane share a thread, lane 0 is the home
	 * thread.  NULL: all are in lane 0.
	 */
	unsigned (*lane)(const struct vio_dev *d, unsigned queue);
	bool no_replay;			/* what a back end that died had in flight is lost, as on a network: no in-flight region */
	enum vio_backend_kind backend;
	const struct vio_dev_elsewhere *elsewhere;	/* NULL: queues are served here; otherwise there are none of the queue hooks below */
	const struct vio_dev_admin_type *admin;	/* what can be administered of it (device/admin.h); NULL: nothing of its own */

	/*
	 * Home thread.  open sets d->queues, drops from d->type_features what these options do not have and fills the config
	 * space.  It returns NULL or a sentence; nothing is to be undone then.
	 */
	const char *(*open)(struct vio_dev *d, const void *options);
	void (*close)(struct vio_dev *d);			/* all queues are stopped */
	void (*config)(struct vio_dev *d, uint32_t at, uint32_t len);	/* the driver wrote config bytes (all writable) */
	bool (*features_ok)(struct vio_dev *d, struct vio_features accepted);	/* a last word; NULL: yes */
	void (*negotiated)(struct vio_dev *d);			/* d->accepted is settled; may adjust the config space */
	void (*reset)(struct vio_dev *d);			/* back to the state after open; queues are stopped */
	/*
	 * Device-specific state (2.12 device parts): bytes written or needed; load returns NULL or a sentence.  parts: they are
	 * whole parts with their headers, of types from 0x200 on; otherwise the value of one such part, at most 4096 bytes.
	 */
	bool parts;
	size_t (*save)(struct vio_dev *d, void *to, size_t room);
	const char *(*load)(struct vio_dev *d, const void *from, size_t n);
	const char *(*stays)(const struct vio_dev *d);		/* why the state is of no use elsewhere now; NULL: it never is so */

	/* The queue's thread. */
	const char *(*queue_start)(struct vio_dev *d, struct vio_devq *q);	/* may set q->priv; NULL: ok */
	void (*queue_stop)(struct vio_dev *d, struct vio_devq *q);	/* nothing is in flight */
	void (*queue)(struct vio_dev *d, struct vio_devq *q);	/* chains may be waiting: serve until pop gives NULL */
	void (*disabled)(struct vio_dev *d, struct vio_devq *q);	/* the same, without side effects; NULL: leave them */
	void (*turn_end)(struct vio_dev *d, struct vio_devq *q);	/* after each turn; may be NULL */
	void (*cancel)(struct vio_dev *d, struct vio_devq *q);	/* end what is in flight soon */
	void (*poll)(struct vio_dev *d, struct vio_devq *q);	/* look for completions; may be NULL */
};

/* A function to be run in a queue's thread; the struct is the caller's, and free again when fn runs. */
struct vio_dev_call { void (*fn)(void *arg); void *arg; struct vio_dev_call *next; };

/* What a transport does for a device. Called in the queue's thread, config() in the home thread. */
struct vio_port_ops {
	void (*used)(void *arg, unsigned queue);	/* used buffer notification */
	void (*config)(void *arg);			/* configuration change notification */
	void (*wake)(void *arg, unsigned queue);	/* call vio_dev_queue_turn() soon, not from here */
	void (*broken)(void *arg, unsigned queue, const char *why);	/* once each time a queue breaks */
	void (*miss)(void *arg, unsigned queue, uint64_t iova, unsigned perm);	/* IOTLB; NULL where there is none */
	void (*unpinned)(void *arg, unsigned queue);	/* the last chain that used removed memory has ended; may be NULL */
	/*
	 * Time, for types that coalesce and for rate limits: a monotonic clock in nanoseconds, and one alarm a queue, at which the
	 * queue gets a turn (a later call replaces an earlier one; UINT64_MAX: none).  Both NULL: no time passes here.
	 */
	uint64_t (*now)(void *arg);
	void (*alarm)(void *arg, unsigned queue, uint64_t at_ns);
	/* Run a call in the queue's thread, soon and never from here, whether or not the queue runs.  From any of the device's threads. */
	void (*post)(void *arg, unsigned queue, struct vio_dev_call *c);
	/* Do two queues share a thread?  NULL: all do. */
	bool (*together)(void *arg, unsigned a, unsigned b);
	void *(*alloc)(void *arg, size_t bytes);	/* zeroed memory, touched only when used; NULL: none */
	void (*free)(void *arg, void *p, size_t bytes);
};

/*
 * How much a device may do in a second, over all its queues (a limit counts what has been done and stops a queue until that
 * is paid off, so the average is exact and a burst is at most one turn more than allowed).  Written in the home thread.
 */
enum { VIO_RATE_OPS, VIO_RATE_BYTES, VIO_RATES };
struct vio_dev_rate {
	uint64_t per_second;		/* 0: no limit */
	uint64_t burst_ns;		/* how long unused time is kept, so that burst = per_second * burst_ns / 10^9 */
	uint64_t paid;			/* atomic: all that was done is paid off at this time */
};

/* The last two have a ring here. */
enum vio_queue_state { VIO_QUEUE_STOPPED, VIO_QUEUE_ELSEWHERE, VIO_QUEUE_STARTED, VIO_QUEUE_STOPPING };

typedef void vio_stopped_fn(void *arg, unsigned queue, uint32_t base);

struct vio_dev_queue {
	struct vio_devq ring;
	enum vio_queue_state state;
	bool enabled;
	bool in_turn;			/* pushes need no wake */
	bool pushed;			/* in this turn: what waited for segments may find some */
	bool wake_sent;
	bool told_broken, told_miss;
	uint32_t busy;			/* vio_dev_busy() */
	uint32_t coal_packets, coal_usecs;	/* vio_dev_coalesce() */
	uint64_t coal_until;		/* 0: nothing is held back */
	vio_stopped_fn *stopped;
	void *stopped_arg;
	void *memory;
	uint64_t memory_bytes;
	/* What the driver wrote while the queue was not live: the status machine's (device/status.c). */
	uint64_t desc, driver, device;
	uint16_t size;
	bool live;			/* queue_enable */
	bool leaving;			/* its reset is under way */
	uint32_t base;			/* where a stopped queue stands */
	uint64_t alarm_type, alarm_rate;	/* when the type, and the rate limit, want a turn; 0: not */
	struct { uint64_t chains, bytes; bool on; } charged;	/* counters as far as rates have counted them */
	/*
	 * How long requests take, while the device is timed: in-flight requests times nanoseconds, so that mean time = area / chains
	 * (Little's law).  Read from other threads.
	 */
	uint64_t area_ns, area_at, area_chains;
	uint32_t area_inflight;
};

struct vio_dev {
	const struct vio_dev_type *type;
	const struct vio_port_ops *port;
	void *port_arg;
	struct vio_dev_rate rate[VIO_RATES];
	bool limited;			/* atomic: some rate is set */
	bool timed;			/* atomic: somebody looks at how long requests take */
	bool held;			/* atomic: no queue pops: see vio_dev_hold() */
	uint16_t queues;		/* set by the type's open */
	uint16_t admin_queues;		/* behind them; the core's, 1 where there is room (device/admin.h) */
	uint16_t queue_size_max;
	uint16_t chain_max;		/* descriptors an indirect chain may have: the segment limit + 2; 0: queue size */
	struct vio_features type_features;	/* device-specific bits of this instance */
	struct vio_features wire;	/* device-independent bits the transport can carry */
	struct vio_features accepted;
	struct vio_mem *mem;		/* what queues are started with; one reference */
	uint8_t *config;		/* type->config_len bytes inside the instance, wire order */
	uint32_t generation;
	uint64_t admin_used;		/* commands that the driver has said it uses */
	void *admin_store;		/* inside the instance, set by the type's open: what it has set and made */
	size_t admin_store_bytes;
	/* The status machine's. */
	uint8_t status;
	uint8_t pending;		/* what stop is under way: 0, VIO_PENDING_* */
	uint8_t freeze;			/* 0, VIO_FREEZE_* */
	bool config_due;		/* changed while suspended or frozen: tell when it goes on */
	void (*frozen)(void *arg);	/* vio_dev_freeze()'s done, while it is due */
	void *frozen_arg;
	const char *needs_reset;	/* why DEVICE_NEEDS_RESET is set */
	struct vio_dev_queue queue[VIO_DEV_QUEUES];
};

/* ---- Life ---- */

/* Prepare an instance in d (type->instance zeroed bytes).  options are the type's.  NULL, or why not. */
const char *vio_dev_open(struct vio_dev *d, const struct vio_dev_type *type, const void *options,
    const struct vio_port_ops *port, void *port_arg, struct vio_features wire);
void vio_dev_close(struct vio_dev *d);	/* all queues are stopped */

/* All queues there are, and those that a driver can see: administration queues need their feature. */
static inline unsigned vio_dev_queues(const struct vio_dev *d) { return d->queues + (unsigned)d->admin_queues; }
static inline unsigned vio_dev_queues_seen(const struct vio_dev *d)
{
	return vio_has(d->accepted, VIO_F_ADMIN_VQ) && vio_has(d->wire, VIO_F_ADMIN_VQ) ? vio_dev_queues(d) : d->queues;
}

/* The transport is another one from now on: no queue runs.  wire: device-independent features it carries. */
void vio_dev_attach(struct vio_dev *d, const struct vio_port_ops *port, void *port_arg, struct vio_features wire);

/* New guest memory for queues to be started; running ones are told by vio_dev_queue_set_mem().  Takes a reference. */
void vio_dev_set_mem(struct vio_dev *d, struct vio_mem *mem);

/* ---- Features and config space (home thread) ---- */

/* type and transport: what the device offers (2.2) */
struct vio_features vio_dev_offered(const struct vio_dev *d);

/* Would FEATURES_OK be granted?  NULL: yes; otherwise why not, in words (2.2.2). */
const char *vio_dev_features_refused(struct vio_dev *d, struct vio_features f);

/* Settle the set; the caller has asked vio_dev_features_refused(). */
void vio_dev_accept(struct vio_dev *d, struct vio_features f);

/* Reads past the end give zeroes; writes go only to bytes the type lets a driver write (all of them, or nothing is done). */
void vio_dev_config_read(const struct vio_dev *d, uint32_t at, void *to, uint32_t len);
bool vio_dev_config_write(struct vio_dev *d, uint32_t at, const void *from, uint32_t len);

/* For types: the config space has changed (2.5). */
void vio_dev_config_changed(struct vio_dev *d);

/* Back to the state after open: features, config space, generation goes on.  All queues are stopped. */
void vio_dev_forget(struct vio_dev *d);

/* ---- Queue primitives (the queue's thread) ---- */

/*
 * Start queue i at base.  place must lie in mem (the device's vio_dev_set_mem() value, of which the queue takes a
 * reference); journal may be NULL.  NULL, or why not, in words.
 */
struct vio_queue_start {
	struct vio_ring_place place;
	uint32_t base;
	uint64_t log_used_gpa;
	bool log_used;
	void *journal;
};
const char *vio_dev_queue_start(struct vio_dev *d, unsigned i, const struct vio_queue_start *s);
void vio_dev_queue_enable(struct vio_dev *d, unsigned i, bool on);

/*
 * Pop no more, cancel if cancel, let what is in flight end, then call stopped (perhaps before this returns; also for a
 * queue that is not started, with the base it had).  The buffers of a broken queue end too; it is whole afterwards.
 */
void vio_dev_queue_stop(struct vio_dev *d, unsigned i, bool cancel, vio_stopped_fn *stopped, void *arg);

/* One turn: serve, flush, settle.  True: more is waiting, call again after the others had theirs. */
bool vio_dev_queue_turn(struct vio_dev *d, unsigned i);

/* The same for a thread that polls: never asks for kicks.  listen afterwards, before sleeping; true: look again. */
bool vio_dev_queue_poll(struct vio_dev *d, unsigned i);
bool vio_dev_queue_listen(struct vio_dev *d, unsigned i);

/* Guest memory has changed under a running queue: see vio_devq_set_mem().  Returns the pins left. */
uint32_t vio_dev_queue_set_mem(struct vio_dev *d, unsigned i, struct vio_mem *mem, const struct vio_region *gone);

/* For types: complete a chain; a completion outside a turn asks the transport for one. */
void vio_dev_push(struct vio_devq *q, struct vio_chain *c);
/* For types: vio_devq_unpop(), for chains that may have been held over turns. */
void vio_dev_unpop(struct vio_devq *q, struct vio_chain *c);
/* For types: what the queue waited for is there. */
void vio_dev_wake(struct vio_devq *q);
/* For types: the lane of a type whose queues are all independent. */
unsigned vio_dev_lane_each(const struct vio_dev *d, unsigned queue);
/* For types: the time (0 where none passes), and a turn for this queue at that time, if not before. */
static inline uint64_t vio_dev_now(const struct vio_dev *d) { return d->port->now ? d->port->now(d->port_arg) : 0; }
void vio_dev_alarm(struct vio_devq *q, uint64_t at_ns);
/* For types: a message to another queue's thread; queue 0's is the home thread. */
static inline void vio_dev_post(struct vio_dev *d, unsigned queue, struct vio_dev_call *c) { d->port->post(d->port_arg, queue, c); }
/*
 * For types: used buffer notifications of q wait until there are so many completions, or the first is so old; when either is
 * 0, none waits.  In the queue's thread, since the queue was started.
 */
void vio_dev_coalesce(struct vio_devq *q, uint32_t packets, uint32_t usecs);
/* For types: something besides chains is under way for q (off: is not any more; counted), and a stop waits for it. */
void vio_dev_busy(struct vio_devq *q, bool on);
/* For types: do queues a and b share a thread? */
static inline bool vio_dev_together(const struct vio_dev *d, unsigned a, unsigned b)
{
	return !d->port->together || d->port->together(d->port_arg, a, b);
}
/* For types: the request is malformed but its chain is sound: counted, and answered by the type. */
static inline void vio_dev_refused(struct vio_devq *q) { q->stats.refused++; }

/* ---- For the operator (home thread) ---- */

/*
 * At most per_second of VIO_RATE_OPS or BYTES from now on, 0: any; burst: how many may be saved up in idle time (0: a tenth
 * of a second's).  Queues that wait notice at their next turn: give each one.  Needs a port with a clock.
 */
void vio_dev_set_rate(struct vio_dev *d, unsigned rate, uint64_t per_second, uint64_t burst);
/* Pop nothing more until released; what is in flight ends.  Give each queue a turn after the release. */
void vio_dev_hold(struct vio_dev *d, bool held);
/* Requests of queue i that are in flight, from any thread, and the sum and number that their mean time is made of. */
uint32_t vio_dev_queue_depth(const struct vio_dev *d, unsigned i);

/* ---- The status machine of 2.1, 3.1 and 2.13 (home thread), for loop, mmio and pci; all queues in the home thread ---- */

enum { VIO_PENDING_RESET = 1, VIO_PENDING_SUSPEND = 2 };

/* 0 resets; the status reads 0 when the reset is done, which is at once unless a back end needs time (port->config tells). */
void vio_dev_set_status(struct vio_dev *d, uint8_t status);
uint8_t vio_dev_status(const struct vio_dev *d);
/* For types: nothing but a reset helps any more; why is a sentence that stays until then.  Said once. */
void vio_dev_needs_reset(struct vio_dev *d, const char *why);
void vio_dev_set_driver_features(struct vio_dev *d, struct vio_features f);

/* Queue registers (4.1.4.3, 4.2.2): ignored while the queue is live. */
uint16_t vio_dev_queue_size_max(const struct vio_dev *d, unsigned i);	/* 0: no such queue */
void vio_dev_queue_setup(struct vio_dev *d, unsigned i, uint16_t size, uint64_t desc, uint64_t driver, uint64_t device);
void vio_dev_queue_go_live(struct vio_dev *d, unsigned i);		/* queue_enable = 1 */
bool vio_dev_queue_is_live(const struct vio_dev *d, unsigned i);
/* 2.6.1: RING_RESET.  Done when vio_dev_queue_is_live() is false. */
void vio_dev_queue_reset(struct vio_dev *d, unsigned i);
/* The driver stops using the queue (4.2.2: QueueReady = 0), RING_RESET or not.  Done when vio_dev_queue_is_live() is false. */
void vio_dev_queue_let_go(struct vio_dev *d, unsigned i);
/* An available buffer notification, from the wire.  True: more is waiting, call again. */
bool vio_dev_notified(struct vio_dev *d, unsigned i);

/*
 * For the owner, and nothing of it shows to the driver: all queues stop by the one stop path, what is in flight ends and is told,
 * and what the driver has asked for (a reset, a queue's, suspend) is brought to its end.  Then done() is called, once, perhaps
 * before this returns; the device is not to be closed in it.  Meanwhile and afterwards registers answer, nothing is popped, and
 * a change of the config space is told later.  There is no deadline here: an owner who has waited long enough thaws, and done()
 * does not come.
 */
enum { VIO_FREEZE_BEGUN = 1, VIO_FREEZE_DONE = 2 };
void vio_dev_freeze(struct vio_dev *d, void (*done)(void *arg), void *arg);
/* Go on where the queues stood; also after vio_dev_load(), into a device that was never frozen. */
void vio_dev_thaw(struct vio_dev *d);
/* For types, in queue_stop: the queue will go on as it was. */
static inline bool vio_dev_pausing(const struct vio_dev *d) { return d->pending == VIO_PENDING_SUSPEND || (d->freeze && !d->pending); }

/* ---- State (2.12 device parts), legal while all queues are stopped: see also device/state.h ---- */

/* Bytes written, or needed when to is NULL or room too small. */
size_t vio_dev_save(struct vio_dev *d, void *to, size_t room);
/* All or nothing: NULL, or why the state does not fit this device.  vio_dev_thaw() lets its queues go on. */
const char *vio_dev_load(struct vio_dev *d, const void *from, size_t n);
/*
 * To be asked before a migration begins, since it may change with the driver: NULL, or why another device would not take this one's
 * state, and what the guest can do about it.
 */
const char *vio_dev_stays(const struct vio_dev *d);

/* Every device type; NULL-terminated (device/table.c). */
extern const struct vio_dev_type *const vio_dev_types[];
const struct vio_dev_type *vio_dev_type_named(const char *name);
VIO_END_DECLS
#endif
