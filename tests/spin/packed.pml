/*
 * A packed ring (virtio 1.4, 2.8): BUFFERS buffers of one descriptor through a ring of QUEUE places (any number), both sides
 * sleeping when they find nothing to do.  A batch is published by its first descriptor, whose flags are released last.
 *
 *   spin -a packed.pml             event structures say DESC: a place and a wrap counter (EVENT_IDX)
 *   spin -a -DFLAGS packed.pml     event structures say ENABLE or DISABLE
 */
#define QUEUE 3
#define BUFFERS 5

#define WORD(n)		(n)		/* the word with id and flags: AVAIL 1, USED 2, and 4 times the id */
#define ADDR(n)		(3 + n)		/* the rest of the descriptor: the number of the buffer */
#define BYTES(n)	(6 + n)		/* what the device writes into the buffer: the same number */
#define DRIVER_OFF	9
#define DRIVER_EVENT	10
#define DEVICE_OFF	11
#define DEVICE_EVENT	12
#define CELLS		13
#include "memory.pml"

#define ENABLE	0
#define DISABLE	1
#define DESC	2

/* flags of an available and of a used descriptor, for a wrap counter */
#define AVAILABLE(w)	(w + 2 * (1 - w))
#define USED(w)		(3 * w)
#define is_avail(v, w)	((v & 3) == AVAILABLE(w))
#define is_used(v, w)	((v & 3) == USED(w))

inline step(at, wrap)
{
	at++;
	if :: at == QUEUE -> at = 0; wrap = 1 - wrap :: else fi
}

/* vio_packed_event_passed(): offsets of this lap, events of the lap before lie QUEUE below.  16 stands for 65536. */
#define OFF(at, wrap)		(at + 8 * wrap)
#define LAP(off, wrap)		((off) / 8 == wrap -> 0 : QUEUE)
#define passed(off, at, wrap, since) \
	((32 + at - ((off) % 8 - (LAP(off, wrap))) - 1) % 16 < since)

#define tell(me, which, event, off, at, wrap, since) \
	load(me, event, v); \
	if \
	:: v == DESC -> \
		load(me, off, v); \
		if :: passed(v, at, wrap, since) -> notify(me, which) :: else fi \
	:: v == ENABLE -> notify(me, which) \
	:: v == DISABLE \
	fi; \
	since = 0

#ifdef FLAGS
#define listen(me, event, off, at, wrap) store(me, off, 0); store_release(me, event, ENABLE)
#else
#define listen(me, event, off, at, wrap) store(me, off, OFF(at, wrap)); store_release(me, event, DESC)
#endif

#define quiet(me, event, off) store(me, off, 0); store_release(me, event, DISABLE)

#define NOTHING 255

proctype driver()
{
	byte avail = 0, used = 0, first = 0, first_word = NOTHING, since = 0, sent = 0, got = 0, v, early, i = 0;
	bit avail_wrap = 1, used_wrap = 1;

	do
	:: sent < BUFFERS && sent - got < QUEUE ->
		store(DRIVER, ADDR(avail), sent + 1);
		if
		:: first_word == NOTHING -> first = avail; first_word = AVAILABLE(avail_wrap) + 4 * avail
		:: else -> store(DRIVER, WORD(avail), AVAILABLE(avail_wrap) + 4 * avail)
		fi;
		step(avail, avail_wrap);
		sent++;
		since++;
		if
		:: skip
		:: sent < BUFFERS && sent - got < QUEUE -> goto again	/* add another one to the batch */
		fi;
		release_a(DRIVER, WORD(first), first_word);
		first_word = NOTHING;
		first = 0;
		fence_c_driver;
		tell(DRIVER, kick, DEVICE_EVENT, DEVICE_OFF, avail, avail_wrap, since);
again:		skip
	:: else ->
		early_b(BYTES(used));
		load(DRIVER, WORD(used), v);
		if
		:: is_used(v, used_wrap) ->
			assert(v / 4 == used);			/* all complete in order here */
			v = early;
			if :: v == NOT_LOADED -> load(DRIVER, BYTES(used), v) :: else fi;
			got++;
			assert(v == got);			/* barrier B */
			step(used, used_wrap)
		:: !is_used(v, used_wrap) && got == BUFFERS -> break
		:: !is_used(v, used_wrap) && got < BUFFERS ->
			listen(DRIVER, DRIVER_EVENT, DRIVER_OFF, used, used_wrap);
			fence_d_driver;
			load(DRIVER, WORD(used), v);
			if
			:: !is_used(v, used_wrap) -> sleep_until(irq)
			:: else
			fi;
			quiet(DRIVER, DRIVER_EVENT, DRIVER_OFF)
		fi
	od
}

proctype device()
{
	byte avail = 0, used = 0, first = 0, first_word = NOTHING, since = 0, served = 0, v, early, i = 0;
	bit avail_wrap = 1, used_wrap = 1;

	do
	:: served == BUFFERS -> break
	:: else ->
		early_a(ADDR(avail));
		load(DEVICE, WORD(avail), v);
		if
		:: is_avail(v, avail_wrap) ->
			v = early;
			if :: v == NOT_LOADED -> load(DEVICE, ADDR(avail), v) :: else fi;
			served++;
			assert(v == served);			/* barrier A */
			store(DEVICE, BYTES(avail), served);
			step(avail, avail_wrap);
			if
			:: first_word == NOTHING -> first = used; first_word = USED(used_wrap) + 4 * used
			:: else -> store(DEVICE, WORD(used), USED(used_wrap) + 4 * used)
			fi;
			step(used, used_wrap);
			since++;
			load(DEVICE, WORD(avail), v);
			if
			:: skip
			:: served < BUFFERS && is_avail(v, avail_wrap) -> goto batch
			fi;
			release_b(DEVICE, WORD(first), first_word);
			first_word = NOTHING;
			first = 0;
			fence_d_device;
			tell(DEVICE, irq, DRIVER_EVENT, DRIVER_OFF, used, used_wrap, since);
batch:			skip
		:: else ->
			listen(DEVICE, DEVICE_EVENT, DEVICE_OFF, avail, avail_wrap);
			fence_c_device;
			load(DEVICE, WORD(avail), v);
			if
			:: !is_avail(v, avail_wrap) -> sleep_until(kick)
			:: else
			fi;
			quiet(DEVICE, DEVICE_EVENT, DEVICE_OFF)
		fi
	od
}

init {
	atomic {
		run driver(); run device(); run drainer(DRIVER); run drainer(DEVICE)
	}
}
