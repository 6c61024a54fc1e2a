/*
 * Memory shared by two sides, as a processor with store buffers shows it.
 *
 *   side ── store ──▶ [ own store buffer ] ── drains at any time ──▶ mem[] ◀── load ── other side
 *
 * A store waits in its side's buffer; the side's own loads see it there, the other side sees it when it has drained.  A
 * fence waits until the buffer is empty.  The buffer drains
 *   in order (TSO: x86), or
 *   with -DPSO in any order that keeps stores to one cell in order; only a release store waits for all stores before it.
 * Loads happen in program order; what lacking acquires permit (a later load first) is written out where it matters.
 * A notification is a system call or a device register: it carries along what its sender stored before it.
 */
#define DRIVER 0
#define DEVICE 1
#define HELD 4			/* stores that a side can hold back */

typedef buffer {
	byte count;
	byte cell[HELD];
	byte value[HELD];
	bit release[HELD]
}

byte mem[CELLS];
buffer held[2];
bool kick, irq;			/* notifications under way: available to the device, used to the driver */
bool lost_wake_up;

/* What is said here is seen when a counter-example is shown (tests/spin/show). */
#define put(me, c, v, r, who, does, where) \
	atomic { \
		held[me].count < HELD; \
		held[me].cell[held[me].count] = c; \
		held[me].value[held[me].count] = v; \
		held[me].release[held[me].count] = r; \
		held[me].count++; \
		printf("\n"); printf(who); \
		printf(does, v); \
		printf(where) \
	}
#define store(me, c, v)		put(me, c, v, 0, #me, " stores %d: ", #c)
#define store_release(me, c, v)	put(me, c, v, 1, #me, " releases %d: ", #c)
#define fence(me)		held[me].count == 0

/* v must be a local of the process; i too. */
#define load(me, c, v)		get(me, c, v, #me, #c)
#define get(me, c, v, who, where) \
	d_step { \
		v = mem[c]; \
		i = 0; \
		do \
		:: i < held[me].count && held[me].cell[i] == c -> v = held[me].value[i]; i++ \
		:: i < held[me].count && held[me].cell[i] != c -> i++ \
		:: i >= held[me].count -> break \
		od; \
		i = 0; \
		printf("\n"); printf(who); \
		printf(" loads %d: ", v); \
		printf(where) \
	}

#define notify(me, which)	signal(me, which, #me)
#define signal(me, which, who) \
	atomic { fence(me); which = true; printf("\n"); printf(who); printf(" notifies") }

/* The store at place i goes to memory. */
inline drain(me)
{
	mem[held[me].cell[i]] = held[me].value[i];
	printf("\n    side %d's store of %d reaches memory", me, held[me].value[i]);
	held[me].count--;
	do
	:: i < held[me].count ->
		held[me].cell[i] = held[me].cell[i + 1];
		held[me].value[i] = held[me].value[i + 1];
		held[me].release[i] = held[me].release[i + 1];
		i++
	:: else -> break
	od;
	held[me].cell[i] = 0;		/* what is not in use is equal: fewer states */
	held[me].value[i] = 0;
	held[me].release[i] = 0;
	i = 0
}

#define FIRST_OF_CELL(me, n) \
	((n < 1 || held[me].cell[0] != held[me].cell[n]) && (n < 2 || held[me].cell[1] != held[me].cell[n]) && \
	 (n < 3 || held[me].cell[2] != held[me].cell[n]))
#define MAY_PASS(me, n)	(held[me].count > n && !held[me].release[n] && FIRST_OF_CELL(me, n))

proctype drainer(byte me)
{
	byte i = 0;
end:	do
	:: atomic { held[me].count > 0 -> drain(me) }
#ifdef PSO
	:: atomic { MAY_PASS(me, 1) -> i = 1; drain(me) }
	:: atomic { MAY_PASS(me, 2) -> i = 2; drain(me) }
	:: atomic { MAY_PASS(me, 3) -> i = 3; drain(me) }
#endif
	od
}

/* The barriers of vio/ring/layout.h, each of which can be taken out. */
#ifdef NO_RELEASE_A
#define release_a store
#else
#define release_a store_release
#endif
#ifdef NO_RELEASE_B
#define release_b store
#else
#define release_b store_release
#endif
#ifdef NO_FENCE_C_DRIVER
#define fence_c_driver skip
#else
#define fence_c_driver fence(DRIVER)
#endif
#ifdef NO_FENCE_C_DEVICE
#define fence_c_device skip
#else
#define fence_c_device fence(DEVICE)
#endif
#ifdef NO_FENCE_D_DEVICE
#define fence_d_device skip
#else
#define fence_d_device fence(DEVICE)
#endif
#ifdef NO_FENCE_D_DRIVER
#define fence_d_driver skip
#else
#define fence_d_driver fence(DRIVER)
#endif
/*
 * Without an acquire the load of the data may have happened before the load that says the data is there.
 */
#ifdef NO_ACQUIRE_A
#define early_a(c) if :: load(DEVICE, c, early) :: early = NOT_LOADED fi
#else
#define early_a(c) early = NOT_LOADED
#endif
#ifdef NO_ACQUIRE_B
#define early_b(c) if :: load(DRIVER, c, early) :: early = NOT_LOADED fi
#else
#define early_b(c) early = NOT_LOADED
#endif
#define NOT_LOADED 255

/*
 * A side that sleeps waits for its notification.  When nothing can happen any more and it still waits, the wake-up was
 * lost: whoever sleeps has work outstanding, because both sides end when all is done.
 */
#define sleep_until(which) \
	if \
	:: atomic { which -> which = false; printf("\nwoken by "); printf(#which) } \
	:: timeout -> printf("\nasleep for ever, waiting for "); printf(#which); lost_wake_up = true; assert(!lost_wake_up) \
	fi
