/* What a machine can be asked over its control socket beside what its devices can. */
#include "run.h"
#include <string.h>
#include <vio/host/why.h>

static struct run *run_of(const struct vio_command *c) { return c->process->arg; }

static json_t *status_of(const struct run *r)
{
	return json_pack("{s:b, s:I, s:i, s:s, s:i, s:I}", "running", vmm_running(r->m), "memory", (json_int_t)r->words.memory, "cpus",
	    (int)r->words.cpus, "transport", r->words.mmio ? "mmio" : "pci", "devices", (int)r->process.units, "uptime_ms",
	    (json_int_t)((vio_now_ns() - r->began_ns) / 1000000));
}

static bool status(struct vio_command *c, char *why)
{
	(void)why;
	json_object_update_new(c->answer, status_of(run_of(c)));
	return true;
}

/* Waiting for a machine there is none that could be told to do anything. */
static bool is_here(const struct run *r, char *why)
{
	return !r->process.arriving || vio_refuse(why, "the machine is not here yet: it comes when another one is told to migrate");
}

static bool pause_machine(struct vio_command *c, char *why)
{
	struct run *r = run_of(c);

	if (!is_here(r, why))
		return false;
	if (vmm_running(r->m)) {
		vmm_pause(r->m);
		vio_control_event_of_process(c->process, "paused", NULL);
	}
	return true;
}

static bool resume(struct vio_command *c, char *why)
{
	struct run *r = run_of(c);

	if (!is_here(r, why))
		return false;
	if (!vmm_running(r->m)) {
		vmm_resume(r->m);
		vio_control_event_of_process(c->process, "resumed", NULL);
	}
	return true;
}

static bool reset(struct vio_command *c, char *why)
{
	if (!is_here(run_of(c), why) || !vmm_reset(run_of(c)->m, why))
		return false;
	vio_control_event_of_process(c->process, "reset", NULL);
	return true;
}

static bool power_button(struct vio_command *c, char *why)
{
	struct run *r = run_of(c);

	if (!vmm_running(r->m))
		return vio_refuse(why, "the machine is paused, and would not notice: resume it first");
	vmm_power_button(r->m);
	return true;
}

static bool quit(struct vio_command *c, char *why)
{
	(void)why;
	vio_process_quit(c->process);
	return true;
}

static bool plug(struct vio_command *c, char *why)
{
	const char *words = vio_command_text(c, "words"), *name;

	if (!is_here(run_of(c), why) || !run_unit_plug(run_of(c), vio_command_text(c, "type"), words ? words : "", &name, why))
		return false;
	json_object_set_new(c->answer, "name", json_string(name));
	vio_control_event_of_process(c->process, "plugged", json_pack("{s:s}", "name", name));
	return true;
}

static bool unplug(struct vio_command *c, char *why)
{
	struct run *r = run_of(c);
	const char *name = vio_command_text(c, "name");
	struct run_unit *u = run_unit_named(r, name);

	if (!u)
		return vio_refuse(why, "there is no device %.40s: \"devices\" lists those there are", name);
	if (!vio_command_flag(c, "force"))
		return vmm_unplug(r->m, name, why);
	run_unit_leave(u);
	return true;
}

const struct vio_verb run_verbs[] = {
	{ "status", "", "Tells whether the machine runs, and what it is.", true, status },
	{ "pause", "", "Stops the processors; devices go on.", true, pause_machine },
	{ "resume", "", "Lets the processors go on. (With device=: serves the guest again after that device's drain.)", true, resume },
	{ "reset", "", "Begins again with the kernel, as the reset button does.", true, reset },
	{ "power-button", "", "Presses the power button; a guest with ACPI switches itself off.", true, power_button },
	{ "plug", "type:text [words:text]", "Plugs a device in, of the words that stand behind --TYPE= on the command line.", true, plug },
	{ "unplug", "name:text [force:bool]", "Asks the guest to let go of a device; the event \"unplugged\" tells when it is gone. "
		"With force it is gone at once.", true, unplug },
	{ "snapshot", "file:new", "Writes all that the machine is, but for what is on its disks, to a new file; it goes on afterwards.", true,
		run_snapshot },
	{ "migrate", "to:connect [down-ms:number] [bytes:size] [rounds:number]",
		"Moves the machine while it runs to where vio run --incoming waits (tcp:HOST:PORT, unix:PATH): a pause of at most down-ms (300) is "
		"aimed at, with at most so many bytes a second.", true, run_migrate },
	{ "migrate-cancel", "", "Calls it back, if it is not gone yet.", true, run_migrate_cancel },
	{ "migration", "", "Tells how far it is.", true, run_migration },
	{ "quit", "", "Ends the machine at once; what devices have taken is finished and flushed.", true, quit },
	{ NULL, NULL, NULL, false, NULL },
};
