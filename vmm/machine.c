/* The machine's life. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vmm/arch.h>
#include <vmm/kvm.h>
#include <vmm/migrate.h>

#define ELSEWHERE "; without it run Linux in QEMU or user-mode Linux, with devices that vio serves (make run does both)"

/* ---- What vCPUs say ---- */

void vmm_news(struct vmm *m, unsigned what)
{
	if (!__atomic_fetch_or(&m->news_bits, what, __ATOMIC_SEQ_CST))
		vio_loop_call(m->o.home, &m->news);
}

static void tell(struct vmm *m, enum vmm_event event, const char *why)
{
	if (m->o.event)
		m->o.event(m->o.arg, event, why);
}

static void ejected(struct vmm *m)
{
	uint32_t slots = __atomic_exchange_n(&m->ejected, 0, __ATOMIC_SEQ_CST);

	for (struct vmm_device *d = m->devices, *next; d; d = next) {
		next = d->next;
		if (slots >> d->slot & 1)
			tell(m, VMM_EVENT_EJECTED, d->name);
	}
}

static void on_news(void *arg)
{
	struct vmm *m = arg;
	unsigned what = __atomic_exchange_n(&m->news_bits, 0, __ATOMIC_SEQ_CST);
	char why[VIO_WHY];

	if (what & VMM_NEWS_EJECT)
		ejected(m);
	if (what & (VMM_NEWS_CRASH | VMM_NEWS_OFF))
		vmm_pause(m);
	if (what & VMM_NEWS_CRASH)
		tell(m, VMM_EVENT_CRASH, m->crash);
	else if (what & VMM_NEWS_OFF)
		tell(m, VMM_EVENT_OFF, NULL);
	else if (what & VMM_NEWS_RESET && m->moving)
		m->reset_due = true;	/* it waits in its loop, stays here, and is reset when the migration has ended */
	else if (what & VMM_NEWS_RESET && vmm_reset(m, why))
		tell(m, VMM_EVENT_RESET, NULL);
	else if (what & VMM_NEWS_RESET)
		tell(m, VMM_EVENT_CRASH, why);
}

/* ---- KVM ---- */

static bool open_kvm(struct vmm *m, char *why)
{
	const char *path = m->o.kvm ? m->o.kvm : "/dev/kvm";

	m->kvm = open(path, O_RDWR | O_CLOEXEC);
	if (m->kvm < 0 && errno == EACCES)
		return vio_refuse(why, "%s may not be opened by this user: join the group kvm" ELSEWHERE, path);
	if (m->kvm < 0)
		return vio_refuse(why, "this host has no hardware virtualization to be used (%s: %s)" ELSEWHERE, path, strerror(errno));
	if (vmm_ioctl(m->kvm, KVM_GET_API_VERSION, NULL) != KVM_API_VERSION)
		return vio_refuse(why, "%s is not KVM" ELSEWHERE, path);
	m->vm = ioctl(m->kvm, KVM_CREATE_VM, vmm_arch_vm_type(m->kvm));
	if (m->vm < 0)
		return vio_refuse(why, "KVM cannot make a machine: %s" ELSEWHERE, strerror(errno));
	int bytes = vmm_ioctl(m->kvm, KVM_GET_VCPU_MMAP_SIZE, NULL);
	m->run_bytes = bytes < 0 ? 0 : (size_t)bytes;
	int most = vmm_ioctl(m->kvm, KVM_CHECK_EXTENSION, (const void *)(uintptr_t)KVM_CAP_MAX_VCPUS);
	if (m->o.cpus > (unsigned)most)
		return vio_refuse(why, "KVM makes at most %d vCPUs: give --cpus less", most);
	return true;
}

static bool open_all(struct vmm *m, char *why)
{
	if (!open_kvm(m, why) || !vmm_memory_open(m, why) || !vmm_arch_open(m, why) || !vmm_irq_open(m, why) || !vmm_vcpus_open(m, why))
		return false;
	if (m->o.wire == VMM_WIRE_PCI && !vmm_pci_open(m, why))
		return false;
	return vmm_arch_platform(m, why) && vmm_mover_open(m, why);
}

struct vmm *vmm_new(const struct vmm_options *o, char *why)
{
	struct vmm *m = calloc(1, sizeof *m);

	if (!m) {
		vio_refuse(why, "there is no memory for the machine");
		return NULL;
	}
	m->o = *o;
	m->kvm = m->vm = m->memory.fd = m->kernel.kernel = m->kernel.initrd = -1;
	m->news = (struct vio_call){ .fn = on_news, .arg = m };
	pthread_mutex_init(&m->park_lock, NULL);
	pthread_cond_init(&m->park_cond, NULL);
	pthread_rwlock_init(&m->ports.lock, NULL);
	pthread_rwlock_init(&m->addresses.lock, NULL);
	pthread_mutex_init(&m->pci.lock, NULL);
	if (open_all(m, why))
		return m;
	vmm_free(m);
	return NULL;
}

void vmm_free(struct vmm *m)
{
	if (!m)
		return;
	vmm_mover_close(m);
	if (m->running)
		vmm_pause(m);
	while (m->devices)
		vmm_detach(m->devices);
	if (m->vcpu)
		vmm_vcpus_close(m);
	vmm_arch_close(m);
	vmm_irq_close(m);
	if (m->vm >= 0)
		close(m->vm);
	if (m->kvm >= 0)
		close(m->kvm);
	vmm_memory_close(m);
	free(m);
}

/* ---- Running ---- */

void vmm_set_kernel(struct vmm *m, const struct vmm_load *kernel) { m->kernel = *kernel; }

bool vmm_boot(struct vmm *m, const struct vmm_load *kernel, char *why)
{
	vmm_set_kernel(m, kernel);
	if (!vmm_arch_boot(m, why))
		return false;
	m->booted = true;
	return true;
}

void vmm_pause(struct vmm *m)
{
	vmm_vcpus_park(m);
	m->running = false;
}

void vmm_resume(struct vmm *m)
{
	m->running = true;
	vmm_vcpus_go(m);
}

bool vmm_running(const struct vmm *m) { return m->running; }

bool vmm_reset(struct vmm *m, char *why)
{
	bool running = m->running;

	if (m->moving)
		return vio_refuse(why, "the machine is being migrated: wait until that has ended");
	if (m->kernel.kernel < 0)
		return vio_refuse(why, "there is no kernel to begin with: the machine was restored without --kernel");
	vmm_pause(m);
	for (struct vmm_device *d = m->devices; d; d = d->next)
		vmm_device_reset(d);
	pthread_mutex_lock(&m->pci.lock);
	m->pci.up = m->pci.down = 0;
	pthread_mutex_unlock(&m->pci.lock);
	__atomic_store_n(&m->ejected, 0, __ATOMIC_SEQ_CST);
	if (!vmm_arch_boot(m, why))
		return false;
	if (running)
		vmm_resume(m);
	return true;
}

void vmm_power_button(struct vmm *m) { vmm_arch_power_button(m); }
