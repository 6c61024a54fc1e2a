/*
 * A split ring (virtio 1.4, 2.7): BUFFERS buffers of one descriptor through a ring of QUEUE, both sides sleeping when they
 * find nothing to do.  Each side may publish several before it asks whether the other wants to be told.
 *
 *   spin -a split.pml              avail_event and used_event (EVENT_IDX)
 *   spin -a -DFLAGS split.pml      flags: "no notify", "no interrupt"
 */
#define QUEUE 2
#define BUFFERS 5
#define INDEX 8			/* indices count modulo this: 65536 in the real one */
#define START 6			/* so that they wrap */

#define DESC(n)		((n) % QUEUE)		/* descriptor: the number of the buffer */
#define ELEM(n)		(2 + (n) % QUEUE)	/* used element: the same */
#define AVAIL_IDX	4
#define AVAIL_FLAGS	5
#define USED_IDX	6
#define USED_FLAGS	7
#define AVAIL_EVENT	8
#define USED_EVENT	9
#define CELLS		10
#include "memory.pml"

#define next(n)		((n + 1) % INDEX)
/* vio_event_passed() */
#define passed(event, now, old)	((INDEX + now - event + INDEX - 1) % INDEX < (INDEX + now - old) % INDEX)

proctype driver()
{
	byte avail = START, used = START, kicked = START, seen, sent = 0, got = 0, v, early, i = 0;

	do
	:: sent < BUFFERS && sent - got < QUEUE ->
		store(DRIVER, DESC(avail), sent + 1);
		avail = next(avail);
		sent++;
		release_a(DRIVER, AVAIL_IDX, avail);
		if
		:: skip
		:: sent < BUFFERS && sent - got < QUEUE -> goto again	/* add another one first */
		fi;
		fence_c_driver;
#ifdef FLAGS
		load(DRIVER, USED_FLAGS, v);
		if :: v == 0 -> notify(DRIVER, kick) :: else fi;
#else
		load(DRIVER, AVAIL_EVENT, v);
		if :: passed(v, avail, kicked) -> notify(DRIVER, kick) :: else fi;
		kicked = avail;
#endif
again:		skip
	:: else ->
		early_b(ELEM(used));
		load(DRIVER, USED_IDX, seen);
		if
		:: seen != used ->
			do
			:: seen != used ->
				v = early;
				if :: v == NOT_LOADED -> load(DRIVER, ELEM(used), v) :: else fi;
				early = NOT_LOADED;
				got++;
				assert(v == got);		/* barrier B */
				used = next(used)
			:: else -> break
			od
		:: got == BUFFERS -> break
		:: else ->
#ifdef FLAGS
			store(DRIVER, AVAIL_FLAGS, 0);
#else
			store(DRIVER, USED_EVENT, used);
#endif
			fence_d_driver;
			load(DRIVER, USED_IDX, seen);
			if
			:: seen == used -> sleep_until(irq)
			:: else
			fi;
#ifdef FLAGS
			store(DRIVER, AVAIL_FLAGS, 1)
#endif
		fi
	od
}

proctype device()
{
	byte avail = START, used = START, signalled = START, seen, served = 0, v, early, i = 0;

	do
	:: served == BUFFERS -> break
	:: else ->
		early_a(DESC(avail));
		load(DEVICE, AVAIL_IDX, seen);
		if
		:: seen != avail ->
			do
			:: seen != avail ->
				v = early;
				if :: v == NOT_LOADED -> load(DEVICE, DESC(avail), v) :: else fi;
				early = NOT_LOADED;
				served++;
				assert(v == served);		/* barrier A */
				avail = next(avail);
				store(DEVICE, ELEM(used), served);
				used = next(used);
				if :: skip :: seen != avail -> goto batch fi;
				release_b(DEVICE, USED_IDX, used);
				fence_d_device;
#ifdef FLAGS
				load(DEVICE, AVAIL_FLAGS, v);
				if :: v == 0 -> notify(DEVICE, irq) :: else fi;
#else
				load(DEVICE, USED_EVENT, v);
				if :: passed(v, used, signalled) -> notify(DEVICE, irq) :: else fi;
				signalled = used;
#endif
batch:				skip
			:: else -> break
			od
		:: else ->
#ifdef FLAGS
			store(DEVICE, USED_FLAGS, 0);
#else
			store(DEVICE, AVAIL_EVENT, avail);
#endif
			fence_c_device;
			load(DEVICE, AVAIL_IDX, seen);
			if
			:: seen == avail -> sleep_until(kick)
			:: else
			fi;
#ifdef FLAGS
			store(DEVICE, USED_FLAGS, 1)
#endif
		fi
	od
}

init {
	atomic {
		mem[AVAIL_IDX] = START; mem[USED_IDX] = START; mem[AVAIL_EVENT] = START; mem[USED_EVENT] = START;
		run driver(); run device(); run drainer(DRIVER); run drainer(DEVICE)
	}
}
