/*
 * The insides of the vhost-user back end, between its files.
 *
 *    home loop                                              a ring's loop (perhaps the same one)
 *    ─────────                                              ──────────────────────────────────
 *    conn.c     socket, one message at a time
 *      │
 *      ▼  step
 *    device.c rings.c regions.c        ── order ──▶         queue.c    kick, turns, call
 *      what the front end said                                │
 *      ▲                               ◀── answer ──          │
 *    work: the message being served                           │
 *    channel.c  what we ask the front end ◀── note ───────────┘
 *
 * What the front end has said is known to the home loop alone.  A ring is told in ORDERS, which are answered; a message
 * whose handler has posted orders is answered when all of them have been.  A ring that has something to say leaves a NOTE.
 * Nothing is locked and nothing waits.
 */
#ifndef VIO_VHOST_SERVER_H
#define VIO_VHOST_SERVER_H
#include <vio/device/dev.h>
#include <vio/host/loop.h>
#include <vio/vhost/backend.h>
#include <vio/vhost/memory.h>
#include <vio/vhost/wire.h>
VIO_BEGIN_DECLS

struct vio_vhost_ring;
struct vio_vhost_work;

/* ---- Orders: home to ring ---- */

/* What an order may contain; done in this sequence, in the ring's loop. */
enum {
	VIO_ORDER_CALL = 1 << 0,	/* call_fd is the one to signal used buffers on; -1: none */
	VIO_ORDER_ERR = 1 << 1,
	VIO_ORDER_KICK = 1 << 2,	/* kick_fd; -1: none, then polled tells whether to look by the clock */
	VIO_ORDER_LOG = 1 << 3,		/* start.log_used and log_used_gpa of a running ring */
	VIO_ORDER_ENABLE = 1 << 4,	/* enable */
	VIO_ORDER_START = 1 << 5,	/* start */
	VIO_ORDER_LOOK = 1 << 6,	/* give it a turn */
	VIO_ORDER_MEM = 1 << 7,		/* mem and gone; answered when nothing in flight uses what is gone */
	VIO_ORDER_BREAK = 1 << 8,	/* why */
	VIO_ORDER_STOP = 1 << 9		/* cancel; answered when nothing is in flight */
};
enum { VIO_VHOST_GONE = 8 };
enum { VIO_VHOST_AGAIN = 1 << 16 };	/* regions given again, at most */

/* Who may have an order with a ring at the same time. */
enum vio_vhost_lane { VIO_LANE_MESSAGE, VIO_LANE_IOTLB, VIO_LANE_BREAK, VIO_LANE_END, VIO_LANE_FORCE, VIO_LANES };

struct vio_vhost_order {
	struct vio_call go, back;
	struct vio_vhost_ring *ring;
	struct vio_vhost_work *work;	/* that waits for the answer, or NULL */
	bool out;			/* home: not answered yet */
	unsigned what;
	int call_fd, err_fd, kick_fd;
	bool polled, enable, cancel;
	bool tolerated;			/* that it can't be done does not fail the work */
	struct vio_queue_start start;
	struct vio_mem *mem;		/* one reference */
	const struct vio_region *gone;
	unsigned gones;
	const char *why;		/* to break it with; in the answer: why it could not be done */
};

/* ---- Notes: ring to home ---- */

enum { VIO_NOTE_CALL = 1, VIO_NOTE_ERR = 2, VIO_NOTE_BROKEN = 4, VIO_NOTE_MISS = 8, VIO_NOTE_DEAD = 16 };

/* ---- A ring ---- */

struct vio_vhost_ring {
	struct vio_vhost *s;
	unsigned index;
	struct vio_loop *loop;
	struct vio_vhost_order order[VIO_LANES];

	/* The home loop's: what the front end said, and what came of it. */
	uint32_t size;			/* 0: not said */
	struct vio_vhost_addr addr;
	bool has_addr;
	uint32_t base;			/* where to start */
	bool has_left;			/* it was stopped, and we said that it stood */
	uint32_t left;			/* here */
	bool enabled;
	bool kicked;			/* started, as the front end sees it */
	bool running;			/* started; kicked but not running waits for memory or translations */
	const struct vio_vhost_work *starting;	/* whose order is starting it */
	bool parking;			/* is being stopped because its memory goes */
	bool broken;
	struct vio_ring_place place;	/* while running */
	uint8_t asks, asked;		/* notes for the channel: to be sent; sent and not answered */
	bool missing;			/* waits for a translation of this */
	uint64_t missing_iova;
	uint8_t missing_perm;
	uint64_t missing_until;

	/* Its loop's. */
	struct vio_watch kick;		/* fd -1: none */
	int call_fd, err_fd;
	bool call_polled;		/* the front end looks by itself */
	bool polled;			/* it does not kick */
	bool attended;			/* its kicks are watched: it runs */
	struct vio_task turn, ended;
	struct vio_poller poller;
	struct vio_timer clock;
	struct vio_timer alarm;		/* the device asked for a turn then */
	struct vio_vhost_order *stopping[VIO_LANES];	/* orders to stop that are not answered */
	struct vio_vhost_order *pinned[VIO_LANES];	/* orders of new memory that wait for what is in flight */
	unsigned stoppings, pins;

	/* Both. */
	struct vio_call note;
	uint32_t notes;			/* atomic; the first to leave one posts the call */
	uint64_t note_miss;		/* atomic: page and permission */
	const char *note_broken;	/* atomic */
	uint32_t stopped_at;		/* written before the answer to a stop */
};

/* How often a ring whose front end does not kick is looked at. */
#define VIO_VHOST_CLOCK_NS UINT64_C(1000000)

/* Home to ring, at any time and unanswered: have a look.  Not part of the ring, which is made anew for each front end. */
struct vio_vhost_nudge { struct vio_call call; struct vio_vhost_ring *ring; uint32_t sent; /* atomic */ };

/* ---- A message being served ---- */

/*
 * Handlers and what follows them: NULL: done; vio_vhost_later: orders are out, work->next goes on when they are answered;
 * anything else: refused, in words.
 */
typedef const char *vio_vhost_step(struct vio_vhost *s, struct vio_vhost_work *w);
extern const char vio_vhost_later[];

struct vio_vhost_work {
	struct vio_vhost_message m;	/* a handler that answers leaves the answer in m.payload */
	uint32_t reply_size;
	int reply_fd;			/* goes with the answer, then closed; -1 */
	enum vio_vhost_lane lane;
	bool busy;
	bool rests;			/* waits for requests in flight: translations may come meanwhile */
	unsigned out;			/* orders not answered */
	const char *failed;		/* the first order that could not be done */
	vio_vhost_step *next;		/* goes on when the orders are answered */
	vio_vhost_step *then;		/* and this when memory has settled; NULL: done */
	struct vio_mem *old;		/* kept mapped until the message is answered */
	struct vio_region gone[VIO_VHOST_GONE];
	unsigned gones;
};

/* ---- The channel to the front end (SET_BACKEND_REQ_FD) ---- */

struct vio_vhost_asked { struct vio_vhost_ring *ring; uint32_t request; };

struct vio_vhost_channel {
	struct vio_watch watch;		/* fd -1: there is none */
	struct vio_vhost_out out;
	struct vio_vhost_message in;
	struct vio_vhost_asked *asked;	/* in the order they were sent; room for every ring's every request */
	unsigned first, count, room;
	unsigned next_ring;		/* whose turn it is */
	bool config;			/* the config space has changed: to be told once a ring runs */
};

/* ---- A server ---- */

enum vio_vhost_life { VIO_VHOST_IDLE, VIO_VHOST_SERVING, VIO_VHOST_CLOSING };
enum { VIO_WORK_MESSAGE, VIO_WORK_IOTLB, VIO_WORKS };

struct vio_vhost {
	struct vio_vhost_options o;
	struct vio_dev *dev;
	struct vio_loop *home;
	enum vio_vhost_life state;
	struct vio_watch listen, sock;		/* fd -1: none */
	struct vio_timer relisten;
	struct vio_timer deadline;		/* a stop takes too long */
	struct vio_timer misses;		/* a translation takes too long */
	struct vio_task more;			/* look at the socket again */
	struct vio_vhost_message in;		/* being received */
	bool held;				/* it is complete, and waits for its turn */
	struct vio_vhost_out out[VIO_WORKS];
	struct vio_vhost_work work[VIO_WORKS];
	unsigned orders;			/* out, all rings' all lanes */

	uint64_t protocol;			/* protocol features negotiated */
	uint64_t features;			/* as SET_FEATURES said, bits 26 and 30 included */
	bool has_features;
	uint8_t status;
	struct vio_mem *mem;			/* NULL: none given yet */
	struct vio_vhost_map *log;
	struct vio_vhost_map *inflight;
	struct vio_vhost_inflight inflight_is;
	/* Device state on its way in (state.c): bytes that the driver's features may still have to be settled for. */
	int state_fd;				/* where the front end writes it; -1: nothing is on its way */
	void *loaded;
	size_t loaded_bytes;
	struct vio_features loaded_features;
	uint32_t regions_again;			/* given when they were there already: as many takings find nothing */
	bool iotlb_evicted;			/* not every translation that was used is still known */
	bool dead;				/* some mapping was cut short; atomic */
	struct vio_vhost_channel channel;

	bool graceful;				/* closing: let what is in flight end */
	bool ending;				/* closing: stop listening too */
	void (*ended)(void *arg);
	void *ended_arg;

	uint64_t said_since;			/* complaints in this stretch of time */
	unsigned said;
	struct vio_vhost_ring *ring;		/* dev->queues of them */
	struct vio_vhost_nudge *nudge;		/* the same */
};

static inline bool vio_vhost_uses(const struct vio_vhost *s, unsigned protocol_bit) { return s->protocol >> protocol_bit & 1; }
static inline bool vio_vhost_is_packed(const struct vio_vhost *s) { return vio_has(s->dev->accepted, VIO_F_RING_PACKED); }

/* backend.c */

/* One line on standard error, "vio-blk: " before it; not more of them than an operator can read. */
void vio_vhost_say(struct vio_vhost *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The connection is over.  graceful: what is in flight ends by itself and is answered. */
void vio_vhost_close(struct vio_vhost *s, bool graceful);
void vio_vhost_deadline_start(struct vio_vhost *s);
/* To whoever asked for news. */
void vio_vhost_tell(struct vio_vhost *s, enum vio_vhost_news news);
/* All orders have been answered: if we were waiting for that, go on. */
void vio_vhost_orders_done(struct vio_vhost *s);

/* conn.c */
void vio_vhost_conn_start(struct vio_vhost *s, int fd);
void vio_vhost_conn_end(struct vio_vhost *s);		/* close the socket, forget what was half received */
/* An order of w has been answered. */
void vio_vhost_work_answered(struct vio_vhost *s, struct vio_vhost_work *w, const char *failed);
/* Read what the front end has sent, if now is the time. */
void vio_vhost_conn_look(struct vio_vhost *s);

/* queue.c */
/* As at the beginning; only its loop stays. */
void vio_vhost_ring_init(struct vio_vhost *s, unsigned i);
void vio_vhost_nudge_init(struct vio_vhost *s, unsigned i);
/* A new order in a lane that is free; fill it in, then post it. */
struct vio_vhost_order *vio_vhost_order(struct vio_vhost_ring *r, enum vio_vhost_lane lane, unsigned what);
/* w (may be NULL) waits for the answer. */
void vio_vhost_post(struct vio_vhost_order *o, struct vio_vhost_work *w);

/* rings.c: messages about one ring */
vio_vhost_step vio_vhost_on_SET_VRING_NUM, vio_vhost_on_SET_VRING_ADDR, vio_vhost_on_SET_VRING_BASE,
    vio_vhost_on_GET_VRING_BASE, vio_vhost_on_SET_VRING_KICK, vio_vhost_on_SET_VRING_CALL, vio_vhost_on_SET_VRING_ERR,
    vio_vhost_on_SET_VRING_ENABLE, vio_vhost_on_VRING_KICK;
/* Start each ring that waits and now has what it needs; as a step, with w->then after it. */
vio_vhost_step vio_vhost_start_waiting;
/* The ring is of no use until it is stopped and started. */
void vio_vhost_break(struct vio_vhost_ring *r, const char *why);
/* Does the used ring's log, where it is to be logged, fit into one of this many bytes? */
bool vio_vhost_ring_log_fits(const struct vio_vhost_ring *r, uint64_t log_bytes);
bool vio_vhost_any_kicked(const struct vio_vhost *s);
bool vio_vhost_any_running(const struct vio_vhost *s);
void vio_vhost_ring_forget(struct vio_vhost_ring *r);

/* regions.c: messages about memory */
vio_vhost_step vio_vhost_on_SET_MEM_TABLE, vio_vhost_on_ADD_MEM_REG, vio_vhost_on_REM_MEM_REG, vio_vhost_on_GET_MAX_MEM_SLOTS,
    vio_vhost_on_SET_LOG_BASE, vio_vhost_on_SET_LOG_FD, vio_vhost_on_IOTLB_MSG;
/* Guest memory is to be logged, or translated, or not any more. */
const char *vio_vhost_set_views(struct vio_vhost *s, struct vio_vhost_work *w, bool log, bool iommu);

/* inflight.c */
vio_vhost_step vio_vhost_on_GET_INFLIGHT_FD, vio_vhost_on_SET_INFLIGHT_FD;
/* Where ring r keeps its journal: NULL with *why NULL when there is none, NULL with a sentence when it does not fit. */
void *vio_vhost_journal(struct vio_vhost_ring *r, const char **why);

/* state.c */
vio_vhost_step vio_vhost_on_SET_DEVICE_STATE_FD, vio_vhost_on_CHECK_DEVICE_STATE;
void vio_vhost_state_settled(struct vio_vhost *s);	/* the driver's features are: a state that was loaded holds with these */
void vio_vhost_state_forget(struct vio_vhost *s);

/* device.c: messages about the device */
vio_vhost_step vio_vhost_on_GET_FEATURES, vio_vhost_on_SET_FEATURES, vio_vhost_on_SET_OWNER, vio_vhost_on_RESET_OWNER,
    vio_vhost_on_GET_PROTOCOL_FEATURES, vio_vhost_on_SET_PROTOCOL_FEATURES, vio_vhost_on_GET_QUEUE_NUM,
    vio_vhost_on_GET_CONFIG, vio_vhost_on_SET_CONFIG, vio_vhost_on_RESET_DEVICE, vio_vhost_on_SET_STATUS,
    vio_vhost_on_GET_STATUS, vio_vhost_on_SET_BACKEND_REQ_FD;
/* The same driver goes on, or another one begins: rings start at these bases. */
void vio_vhost_new_driver(struct vio_vhost *s);

/* channel.c */
void vio_vhost_channel_open(struct vio_vhost *s, int fd);
void vio_vhost_channel_close(struct vio_vhost *s);
/* Ask (VIO_NOTE_CALL, ERR, MISS) of the front end for a ring; a miss is of missing_iova. */
void vio_vhost_channel_ask(struct vio_vhost_ring *r, unsigned what);
void vio_vhost_channel_config(struct vio_vhost *s);
void vio_vhost_channel_pump(struct vio_vhost *s);	/* a ring runs: what was kept back may be told */
/* Ring r can't go on without this translation. */
void vio_vhost_miss(struct vio_vhost_ring *r, uint64_t iova, unsigned perm);
/* Translations have come. */
void vio_vhost_misses_settle(struct vio_vhost *s);
VIO_END_DECLS
#endif
