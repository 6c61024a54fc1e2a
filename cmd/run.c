/*
 * vio run: a virtual machine on KVM whose devices are vio's.
 *
 *   words -> files, serial port -> KVM, memory -> devices, each in a thread -> control socket -> kernel -> confinement
 *   -> run, until the guest switches off or crashes, the user ends it (Ctrl-A x, vio ctl PATH quit), or a signal comes
 *   -> pause, stop the devices, flush, close
 *
 * The first SIGTERM or SIGINT presses the power button, and who has not switched off after a while is stopped; the second stops.
 */
#include "run.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <vio/host/log.h>
#include <vio/host/why.h>

int vio_cmd_run(int argc, char **argv);

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };
#define PATIENCE_NS UINT64_C(30000000000)

static const char self[] = "vio run";

/* ---- The end ---- */

void run_unit_gone(struct run *r)
{
	if (r->stopping && r->units == r->stuck)
		vio_loop_quit(r->process.loop);
}

void run_stop(struct run *r)
{
	if (r->stopping)
		return;
	r->stopping = true;
	vio_loop_untimer(r->process.loop, &r->patience);
	run_move_stop(r);
	if (r->m)
		vmm_pause(r->m);
	for (unsigned i = 0; i < r->units; i++)
		run_unit_leave(r->unit[i]);
	run_unit_gone(r);	/* there may be none */
}

static void quit(struct vio_process *p) { run_stop(p->arg); }

static void impatient(void *arg)
{
	struct run *r = arg;

	vio_say(self, "the guest does not switch itself off: it is stopped");
	run_stop(r);
}

void run_power_button(struct run *r)
{
	if (!vmm_running(r->m)) {
		run_stop(r);
		return;
	}
	vmm_power_button(r->m);
	r->patience = (struct vio_timer){ .fn = impatient, .arg = r };
	vio_loop_timer(r->process.loop, &r->patience, vio_now_ns() + PATIENCE_NS);
}

static void on_signal(struct vio_watch *w, uint32_t events)
{
	struct run *r = w->arg;
	struct signalfd_siginfo info;

	(void)events;
	while (read(w->fd, &info, sizeof info) == sizeof info) {
		if (info.ssi_signo == SIGHUP)
			for (unsigned i = 0; i < r->process.units; i++)
				vio_unit_look_again(r->process.unit[i]);
		else if (r->signalled++ || r->stopping)
			run_stop(r);
		else
			run_power_button(r);
	}
}

/* ---- What the machine tells ---- */

static void crashed(struct run *r, const char *why)
{
	vio_say(self, "the machine can't go on: %s", why);
	r->status = EXIT_FAILED;
	vio_control_event_of_process(&r->process, "crashed", json_pack("{s:s}", "why", why));
	run_stop(r);
}

static void on_event(void *arg, enum vmm_event event, const char *why)
{
	struct run *r = arg;
	struct run_unit *u;

	switch (event) {
	case VMM_EVENT_OFF:
		vio_control_event_of_process(&r->process, "off", NULL);
		run_stop(r);
		break;
	case VMM_EVENT_RESET:
		vio_control_event_of_process(&r->process, "reset", NULL);
		break;
	case VMM_EVENT_CRASH:
		if (!r->stopping)	/* who has switched off may run into anything until its processors stand still */
			crashed(r, why);
		break;
	case VMM_EVENT_EJECTED:
		u = run_unit_named(r, why);
		if (u && !r->stopping)
			run_unit_leave(u);
		break;
	}
}

/* ---- The beginning ---- */

static bool open_file(int *fd, const char *path, const char *what, char *why)
{
	*fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	return !path || *fd >= 0 || vio_refuse(why, "cannot open the %s %s: %s", what, path, strerror(errno));
}

static bool open_files(struct run *r, char *why)
{
	const struct run_words *w = &r->words;

	r->load = (struct vmm_load){ .kernel = -1, .kernel_name = w->kernel, .initrd = -1, .initrd_name = w->initrd,
		.command_line = w->append ? w->append : "" };
	return open_file(&r->load.kernel, w->kernel, "kernel", why) && open_file(&r->load.initrd, w->initrd, "initrd", why);
}

static bool open_loop(struct run *r, char *why)
{
	sigset_t set;

	if (!vio_process_begin(&set, why))
		return false;
	r->process.loop = vio_loop_new();
	r->signals = (struct vio_watch){ .fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC), .events = EPOLLIN, .ready = on_signal, .arg = r };
	return (r->process.loop && r->signals.fd >= 0 && vio_loop_watch(r->process.loop, &r->signals)) ||
	    vio_refuse(why, "cannot wait for anything: %s; raise the limit of open files (ulimit -n)", strerror(errno));
}

static bool open_machine(struct run *r, char *why)
{
	struct vmm_options o = { .memory = r->words.memory, .cpus = r->words.cpus, .wire = r->words.mmio ? VMM_WIRE_MMIO : VMM_WIRE_PCI,
		.home = r->process.loop, .event = on_event, .arg = r };

	if (!run_serial_open(r, &o.serial_in, &o.serial_out, why))
		return false;
	r->m = vmm_new(&o, why);
	return r->m;
}

static bool open_control(struct run *r, char *why)
{
	if (!r->words.control)
		return true;
	r->process.control = vio_control_open(&r->process, r->words.control, &r->control_file, why);
	return r->process.control;
}

static bool begin(struct run *r, char *why)
{
	if (!open_files(r, why) || !open_loop(r, why) || !run_move_open(r, why) || !open_machine(r, why) || !run_units_open(r, why) ||
	    !open_control(r, why) || !vio_notify_open(why))
		return false;
	if (r->words.no_sandbox)
		vio_say(self, "WARNING: --sandbox=none: whoever takes this process over has all of its user's rights");
	else if (!run_confine(r, why))
		return false;
	r->began_ns = vio_now_ns();
	if (!run_move_begin(r, why))	/* reads what may be anybody's: confined */
		return false;
	vio_notify_ready();
	if (!r->words.paused && !r->words.incoming)
		vmm_resume(r->m);
	return true;
}

/* ---- All ---- */

static void close_control(struct run *r)
{
	if (!r->process.control)
		return;
	vio_control_close(r->process.control);
	r->process.control = NULL;
	int error = vio_socket_remove(&r->control_file);
	if (error)
		vio_say(self, "cannot remove the socket %s: %s; remove it yourself", r->words.control, strerror(error));
}

static void tear_down(struct run *r)
{
	close_control(r);
	if (r->m)
		vmm_free(r->m);
	run_move_close(r->move);
	run_serial_close(r->serial);
	if (r->load.kernel >= 0)
		close(r->load.kernel);
	if (r->load.initrd >= 0)
		close(r->load.initrd);
	if (r->signals.fd >= 0)
		close(r->signals.fd);
	vio_loop_free(r->process.loop);
}

static int live(struct run *r)
{
	char why[VIO_WHY];

	r->process = (struct vio_process){ .program = self, .type = "machine", .unit = r->asked, .verbs = run_verbs, .quit = quit, .arg = r,
		.prefixed = true, .arriving = r->words.incoming };
	r->load.kernel = r->load.initrd = r->signals.fd = -1;
	if (!begin(r, why)) {
		vio_say(self, "%s", why);
		r->status = EXIT_FAILED;
		if (r->process.loop)
			run_stop(r);
	}
	if (r->process.loop)
		vio_loop_run(r->process.loop);
	tear_down(r);
	if (r->stuck)		/* a thread that can't be joined, with a device that can't be closed */
		_exit(r->status);
	return r->status;
}

int vio_cmd_run(int argc, char **argv)
{
	static struct run r;
	char why[VIO_WHY];
	int status = EXIT_OK;

	if (!run_words_parse(&r.words, argc, argv, why)) {
		vio_say(self, "%s", why);
		status = EXIT_USAGE;
	} else if (r.words.help) {
		vio_opt_help(&run_table);
	} else if (r.words.version) {
		printf("%s %s\n", self, VIO_VERSION);
	} else {
		if (r.words.verbose)
			vio_log_set(VIO_LOG_VERBOSE);
		status = live(&r);
	}
	run_words_free(&r.words);
	return status;
}
