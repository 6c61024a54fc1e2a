/*
 * Time, from the processor's counter.  Its frequency is KVM's to tell (the paravirtual clock), or CPUID's, or else 4 GHz are assumed:
 * then deadlines come late rather than early.
 */
#include "guest.h"

struct pvclock {
	uint32_t version, pad;
	uint64_t tsc, ns;
	uint32_t mul;
	int8_t shift;
	uint8_t flags, pad2[2];
};
enum { MSR_KVM_SYSTEM_TIME = 0x4b564d01, KVM_FEATURE_CLOCKSOURCE2 = 3 };

static uint64_t start;
static uint32_t mul = UINT32_MAX / 4;	/* nanoseconds = (ticks << shift) * mul >> 32 */
static int shift;

static uint64_t ticks(void)
{
	uint32_t low, high;
	__asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high) :: "memory");
	return low | (uint64_t)high << 32;
}

struct cpuid { uint32_t a, b, c, d; };
static struct cpuid cpuid(uint32_t leaf)
{
	struct cpuid r;
	__asm__ volatile("cpuid" : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d) : "a"(leaf), "c"(0));
	return r;
}

static bool ask_kvm(void)
{
	static struct pvclock page __attribute__((aligned(64)));
	volatile struct pvclock *p = &page;
	struct cpuid id = cpuid(0x40000000);

	if (id.b != 0x4b4d564b || id.c != 0x564b4d56 || !(cpuid(0x40000001).a >> KVM_FEATURE_CLOCKSOURCE2 & 1))	/* "KVMKVMKVM" */
		return false;
	uint64_t at = (uintptr_t)&page | 1;
	__asm__ volatile("wrmsr" :: "c"(MSR_KVM_SYSTEM_TIME), "a"((uint32_t)at), "d"((uint32_t)(at >> 32)) : "memory");
	if (p->mul == 0)
		return false;
	mul = p->mul;
	shift = p->shift;
	at = 0;					/* it need not be written any more: the frequency is all we wanted */
	__asm__ volatile("wrmsr" :: "c"(MSR_KVM_SYSTEM_TIME), "a"((uint32_t)at), "d"((uint32_t)(at >> 32)) : "memory");
	return true;
}

static bool ask_processor(void)
{
	if (cpuid(0).a < 0x15)
		return false;
	struct cpuid r = cpuid(0x15);
	if (!r.a || !r.b || !r.c)
		return false;
	uint64_t hz = (uint64_t)r.c * r.b / r.a;
	if (hz < 300000000)
		return false;
	mul = (uint32_t)((UINT64_C(1000000000) << 30) / hz);
	shift = 2;
	return true;
}

void clock_init(void)
{
	start = ticks();
	if (!ask_kvm())
		ask_processor();
}

uint64_t clock_ns(void)
{
	uint64_t t = ticks() - start;

	t = shift >= 0 ? t << shift : t >> -shift;
	return (uint64_t)((unsigned __int128)t * mul >> 32);
}
