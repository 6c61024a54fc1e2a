/* vio input as a user starts it: what is refused, what the control socket presses, what comes back, confined. */
#include "program.h"
#include <linux/input-event-codes.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <vio/driver/input.h>
#include <vio/spec/ring.h>
#include <vio/vhost/frontend.h>

enum { MEMORY = 1 << 20, SECONDS = 20 };

static char folder[] = "/tmp/vio-input-XXXXXX", path[6][64];
enum { KEYBOARD, MOUSE, TABLET, TOUCH, GAMEPAD, CONTROL };

static struct program daemon_;
static FILE *control;
static char answer[65536];

/* ---- The daemon, and lines to it ---- */

static void start(void)
{
	static const char *const kinds[] = { "--kind=keyboard", "--kind=mouse", "--kind=tablet", "--kind=touch", "--kind=gamepad" };
	static char option[6][512];
	unsigned n = 0;

	daemon_ = (struct program){ .args = { "input", "--verbose" } };
	n = 2;
	for (unsigned i = 0; i < 6; i++)
		snprintf(option[i], sizeof option[i], i == CONTROL ? "--control=%s" : "--socket-path=%s", path[i]);
	daemon_.args[n++] = option[CONTROL];
	for (unsigned i = 0; i < CONTROL; i++) {
		daemon_.args[n++] = option[i];
		daemon_.args[n++] = kinds[i];
	}
	program_start(&daemon_);
	program_until(&daemon_, "gamepad: serving");
}

static const char *line_of(FILE *f)
{
	assert_non_null(fgets(answer, sizeof answer, f));
	return answer;
}

static FILE *connect_control(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof a.sun_path, "%s", path[CONTROL]);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
	FILE *f = fdopen(fd, "r+");
	setvbuf(f, NULL, _IOLBF, 0);
	line_of(f);			/* the greeting */
	return f;
}

/* What is answered to a line; events that come between are left out. */
static const char *ask(const char *line)
{
	fprintf(control, "%s\n", line);
	fflush(control);
	while (strstr(line_of(control), "\"event\""))
		;
	return answer;
}

static void must(const char *line)
{
	if (!strstr(ask(line), "\"ok\""))
		fail_msg("%s: %s", line, answer);
}

/* ---- A driver of one of them ---- */

struct guest { struct vio_vhost_memory memory; struct vio_vhost_front *front; struct vio_input *in; };

static struct guest attach_with(unsigned what, uint64_t without, bool irq)
{
	struct guest g;
	char why[512] = "";

	assert_true(vio_vhost_memory_make(&g.memory, MEMORY));
	g.front = vio_vhost_connect(&(struct vio_vhost_front_options){ .path = path[what], .memory = &g.memory, .device_id = VIO_ID_INPUT,
	    .irq = irq, .protocol_without = without }, why);
	if (!g.front)
		fail_msg("%s", why);
	g.in = g.memory.base;
	if (!vio_input_start(g.in, vio_vhost_drv_port(g.front)))
		fail_msg("%s", g.in->drv.failed);
	return g;
}

static struct guest attach(unsigned what) { return attach_with(what, 0, true); }

static void detach(struct guest *g)
{
	vio_input_stop(g->in);
	vio_vhost_disconnect(g->front);
	vio_vhost_memory_free(&g->memory);
}

/* The driver hears these events (T:C:V,...), and nothing else until then. */
static void hears(struct guest *g, const char *events)
{
	const struct vio_platform *pf = &g->in->drv.port->platform;
	uint64_t deadline = pf->ops->now_ns(pf->arg) + SECONDS * UINT64_C(1000000000);
	char list[2048], *rest = list;
	struct vio_input_said e;

	snprintf(list, sizeof list, "%s", events);
	for (char *word; (word = strsep(&rest, ","));) {
		char came[64];
		if (!vio_input_next_wait(g->in, &e, deadline))
			fail_msg("%s does not come", word);
		snprintf(came, sizeof came, "%u:%u:%d", e.type, e.code, e.value);
		assert_string_equal(came, word);
	}
}

#define END ",0:0:0"

/* ---- Tests ---- */

static void command_lines(void **state)
{
	static const struct { const char *args[6], *words; } rows[] = {
		{ { NULL }, "add --evdev-path=PATH for a real one, or --kind=keyboard" },
		{ { "--kind=piano" }, "--kind=piano cannot be: give keyboard, mouse, tablet, touch or gamepad" },
		{ { "--kind=mouse", "--no-grab" }, "--no-grab is for real devices" },
		{ { "--kind=mouse", "--slots=3" }, "--slots is for touch screens" },
		{ { "--kind=touch", "--slots=65" }, "--slots" },
		{ { "--kind=touch", "--slots=0" }, "--slots" },
		{ { "--evdev-path=/dev/null", "--name=x" }, "a real device has its own name" },
		{ { "--evdev-path=/dev/input/no-such" }, "cannot open /dev/input/no-such" },
		{ { "--evdev-path=/dev/null" }, "/dev/null is no input device" },
		{ { "--kind=mouse", "--evdev-path=/dev/null" }, "it is not said where the front end connects" },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct program p = { .args = { "input", "--socket-path=/tmp/vio-input-never" } };
		for (unsigned n = 0; n < 4 && rows[i].args[n]; n++)
			p.args[2 + n] = rows[i].args[n];
		program_run(&p);
		if (p.status != 1 && p.status != 2)
			fail_msg("row %u ended with %d: %s", i, p.status, p.said);
		if (!strstr(p.said, rows[i].words))
			fail_msg("row %u said: %s", i, p.said);
		assert_int_not_equal(access("/tmp/vio-input-never", F_OK), 0);
	}
}

static void without_a_driver(void **state)
{
	(void)state;
	start();
	control = connect_control();
	assert_non_null(strstr(ask("{\"do\":\"key\",\"keys\":\"a\"}"), "no driver listens"));
	assert_non_null(strstr(ask("{\"do\":\"stats\"}"), "\"driver\":false"));
	must("{\"do\":\"release\"}");		/* nothing is down */
}

static void keys(void **state)
{
	struct guest g = attach(KEYBOARD);

	(void)state;
	assert_string_equal(g.in->name, "vio keyboard");
	must("{\"do\":\"key\",\"keys\":\"KEY_A\"}");
	hears(&g, "1:30:1" END ",1:30:0" END);
	must("{\"do\":\"key\",\"keys\":\"leftctrl+leftalt+KEY_DELETE\"}");
	hears(&g, "1:29:1" END ",1:56:1" END ",1:111:1" END ",1:111:0" END ",1:56:0" END ",1:29:0" END);
	must("{\"do\":\"press\",\"keys\":\"x\"}");
	must("{\"do\":\"press\",\"keys\":\"31\"}");
	hears(&g, "1:45:1" END ",1:31:1" END);
	assert_non_null(strstr(ask("{\"do\":\"stats\"}"), "\"down\":[\"KEY_S\",\"KEY_X\"]"));
	must("{\"do\":\"release\",\"keys\":\"x\"}");
	must("{\"do\":\"release\"}");
	hears(&g, "1:45:0" END ",1:31:0" END);
	must("{\"do\":\"type\",\"text\":\"aZ 1!\\n\\\\|\"}");
	hears(&g, "1:30:1" END ",1:30:0" END ",1:42:1" END ",1:44:1" END ",1:44:0" END ",1:42:0" END ",1:57:1" END ",1:57:0" END
	    ",1:2:1" END ",1:2:0" END ",1:42:1" END ",1:2:1" END ",1:2:0" END ",1:42:0" END ",1:28:1" END ",1:28:0" END
	    ",1:43:1" END ",1:43:0" END ",1:42:1" END ",1:43:1" END ",1:43:0" END ",1:42:0" END);
	/* every character that can be typed */
	for (char c = ' '; c < 127; c++) {
		char line[64];
		struct vio_input_said e;
		snprintf(line, sizeof line, "{\"do\":\"type\",\"text\":\"%s%c\"}", c == '"' || c == '\\' ? "\\" : "", c);
		must(line);
		for (unsigned end = 0, wanted = strchr("~!@#$%^&*()_+{}|:\"<>?", c) || (c >= 'A' && c <= 'Z') ? 4 : 2; end < wanted;)
			if (vio_input_next(g.in, &e))
				end += e.type == EV_SYN;
	}
	must("{\"do\":\"event\",\"type\":\"EV_KEY\",\"code\":\"KEY_B\",\"value\":1}");
	must("{\"do\":\"event\",\"type\":\"1\",\"code\":\"48\",\"value\":\"0\"}");
	must("{\"do\":\"send\",\"events\":[[\"EV_KEY\",\"KEY_A\",1],[\"EV_KEY\",\"KEY_B\",1],[\"EV_SYN\",\"SYN_REPORT\",0],[\"1\",\"30\",0]]}");
	hears(&g, "1:48:1" END ",1:48:0" END ",1:30:1,1:48:1" END ",1:30:0" END);
	detach(&g);
}

static void pointers(void **state)
{
	struct guest g = attach(MOUSE);

	(void)state;
	must("{\"do\":\"move\",\"device\":1,\"x\":5,\"y\":-3}");
	must("{\"do\":\"move\",\"device\":1,\"y\":\"-1\"}");
	must("{\"do\":\"wheel\",\"device\":1,\"vertical\":-2,\"horizontal\":1}");
	must("{\"do\":\"key\",\"device\":1,\"keys\":\"left\"}");
	hears(&g, "2:0:5,2:1:-3" END ",2:1:-1" END ",2:8:-2,2:6:1" END ",1:272:1" END ",1:272:0" END);
	detach(&g);
	g = attach(TABLET);
	must("{\"do\":\"move\",\"device\":2,\"x\":32767,\"y\":1}");
	must("{\"do\":\"press\",\"device\":2,\"keys\":\"BTN_RIGHT\"}");
	hears(&g, "3:0:32767,3:1:1" END ",1:273:1" END);
	detach(&g);
}

static void touches(void **state)
{
	struct guest g = attach(TOUCH);

	(void)state;
	must("{\"do\":\"touch\",\"device\":3,\"slot\":0,\"x\":1,\"y\":2,\"pressure\":3}");
	hears(&g, "3:47:0,3:57:1,1:330:1,3:53:1,3:0:1,3:54:2,3:1:2,3:58:3,3:24:3" END);
	must("{\"do\":\"touch\",\"device\":3,\"slot\":9,\"x\":7}");
	hears(&g, "3:47:9,3:57:2,3:53:7" END);
	assert_non_null(strstr(ask("{\"do\":\"stats\",\"device\":3}"), "\"touches\":[0,9]"));
	must("{\"do\":\"lift\",\"device\":3,\"slot\":0}");
	must("{\"do\":\"touch\",\"device\":3,\"slot\":9,\"x\":8}");		/* now the first one */
	must("{\"do\":\"lift\",\"device\":3,\"slot\":9}");
	hears(&g, "3:47:0,3:57:-1" END ",3:47:9,3:53:8,3:0:8" END ",3:47:9,3:57:-1,1:330:0" END);
	must("{\"do\":\"touch\",\"device\":3,\"slot\":4,\"x\":8}");
	hears(&g, "3:47:4,3:57:3,1:330:1,3:53:8,3:0:8" END);
	must("{\"do\":\"release\",\"device\":3}");
	hears(&g, "3:47:4,3:57:-1,1:330:0" END);
	detach(&g);
}

static void what_can_not_be(void **state)
{
	static const struct { const char *line, *words; } rows[] = {
		{ "{\"do\":\"key\",\"keys\":\"KEY_NONE\"}", "there is no key KEY_NONE" },
		{ "{\"do\":\"key\",\"keys\":\"a+\"}", "there is no key" },
		{ "{\"do\":\"key\",\"keys\":\"BTN_LEFT\"}", "the device has no key BTN_LEFT" },
		{ "{\"do\":\"key\",\"keys\":\"700\"}", "no such key" },
		{ "{\"do\":\"key\",\"keys\":\"70000\"}", "there is no key 70000" },
		{ "{\"do\":\"key\",\"keys\":\"a+a+a+a+a+a+a+a+a+a+a+a+a+a+a+a+a\"}", "too many keys at once" },
		{ "{\"do\":\"press\"}", "press needs keys=text" },
		{ "{\"do\":\"type\",\"text\":\"\\u00e4\"}", "no key for a character" },
		{ "{\"do\":\"move\",\"x\":1}", "no such key, button or axis" },
		{ "{\"do\":\"move\"}", "give x, y, or both" },
		{ "{\"do\":\"move\",\"device\":1,\"x\":1.5}", "give a integer" },
		{ "{\"do\":\"move\",\"device\":1,\"x\":\"far\"}", "give a integer" },
		{ "{\"do\":\"move\",\"device\":1,\"x\":3000000000}", "too far" },
		{ "{\"do\":\"move\",\"device\":2,\"x\":32768}", "ABS_X is between 0 and 32767" },
		{ "{\"do\":\"move\",\"device\":2,\"y\":-1}", "ABS_Y is between 0 and 32767" },
		{ "{\"do\":\"wheel\",\"device\":1}", "not said how far" },
		{ "{\"do\":\"touch\",\"slot\":0}", "can't be touched" },
		{ "{\"do\":\"touch\",\"device\":3,\"slot\":10}", "slots 0 to 9" },
		{ "{\"do\":\"touch\",\"device\":3,\"slot\":0,\"pressure\":256}", "ABS_MT_PRESSURE is between 0 and 255" },
		{ "{\"do\":\"lift\",\"device\":3,\"slot\":1}", "nothing touches in slot 1" },
		{ "{\"do\":\"event\",\"type\":\"EV_NONE\",\"code\":\"1\",\"value\":0}", "no type of events EV_NONE" },
		{ "{\"do\":\"event\",\"type\":\"EV_KEY\",\"code\":\"REL_X\",\"value\":0}", "no code REL_X" },
		{ "{\"do\":\"event\",\"type\":\"EV_KEY\",\"code\":\"KEY_A\",\"value\":4294967296}", "does not fit" },
		{ "{\"do\":\"event\",\"type\":\"EV_LED\",\"code\":\"LED_NUML\",\"value\":1}", "for the guest to say" },
		{ "{\"do\":\"send\",\"events\":[]}", "give 1 to" },
		{ "{\"do\":\"send\",\"events\":[[\"EV_KEY\",\"KEY_A\"]]}", "event 0 is not of the form" },
		{ "{\"do\":\"send\",\"events\":[[\"EV_KEY\",\"KEY_A\",1],7]}", "event 1 is not of the form" },
		{ "{\"do\":\"send\",\"events\":[[\"EV_KEY\",\"KEY_A\",1],[\"EV_REL\",\"REL_X\",1]]}", "no such key, button or axis" },
	};
	struct guest g = attach(KEYBOARD);

	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		if (!strstr(ask(rows[i].line), "\"error\"") || !strstr(answer, rows[i].words))
			fail_msg("%s: %s", rows[i].line, answer);
	}
	must("{\"do\":\"key\",\"keys\":\"KEY_A\"}");	/* and nothing of all that has happened */
	hears(&g, "1:30:1" END ",1:30:0" END);
	detach(&g);
}

/* QEMU sends the whole config space, with what its guest read last, each time the guest writes a byte. */
static void the_whole_space_is_written(void **state)
{
	struct guest g = attach(MOUSE);
	struct vio_drv_port *p = vio_vhost_drv_port(g.front);
	struct vio_input_config whole, c;

	(void)state;
	memset(&whole, 0x5a, sizeof whole);
	whole.select = VIO_INPUT_CFG_ID_NAME;
	whole.subsel = 0;
	assert_true(p->ops->config_write(p, 0, &whole, sizeof whole));
	assert_true(p->ops->config_read(p, 0, &c, sizeof c));
	assert_int_equal(c.size, strlen("vio mouse"));
	assert_memory_equal(c.u.string, "vio mouse", sizeof "vio mouse");
	whole.subsel = 1;
	assert_true(p->ops->config_write(p, 0, &whole, sizeof whole));
	assert_true(p->ops->config_read(p, 0, &c, sizeof c));
	assert_int_equal(c.size, 0);
	assert_false(p->ops->config_write(p, 2, &whole, 1));		/* and nothing less than the whole */
	detach(&g);
}

static void the_guest_speaks(void **state)
{
	FILE *listener = connect_control();
	struct guest g = attach(KEYBOARD);

	(void)state;
	fprintf(listener, "{\"do\":\"events\"}\n");
	fflush(listener);
	assert_non_null(strstr(line_of(listener), "\"ok\""));
	assert_true(vio_input_tell(g.in, EV_LED, LED_CAPSL, 1));
	assert_string_equal(line_of(listener), "{\"event\":\"said\",\"device\":0,\"type\":\"EV_LED\",\"code\":\"LED_CAPSL\",\"value\":1}\n");
	assert_true(vio_input_tell(g.in, EV_SND, SND_TONE, 440));
	assert_string_equal(line_of(listener), "{\"event\":\"said\",\"device\":0,\"type\":\"EV_SND\",\"code\":\"SND_TONE\",\"value\":440}\n");
	assert_true(vio_input_tell(g.in, EV_REP, REP_DELAY, 300));
	assert_non_null(strstr(line_of(listener), "REP_DELAY"));
	assert_non_null(strstr(ask("{\"do\":\"stats\"}"), "\"lights\":[\"LED_CAPSL\"]"));
	detach(&g);			/* the light goes out with the driver */
	assert_string_equal(line_of(listener), "{\"event\":\"said\",\"device\":0,\"type\":\"EV_LED\",\"code\":\"LED_CAPSL\",\"value\":0}\n");
	assert_non_null(strstr(line_of(listener), "\"disconnected\""));
	g = attach(GAMEPAD);
	assert_non_null(strstr(line_of(listener), "\"connected\""));
	assert_non_null(strstr(line_of(listener), "\"features\""));
	assert_true(vio_input_tell(g.in, EV_FF, 0, 1));
	assert_string_equal(line_of(listener), "{\"event\":\"said\",\"device\":4,\"type\":\"EV_FF\",\"code\":\"0\",\"value\":1}\n");
	detach(&g);
	fclose(listener);
}

/* Another driver begins with nothing pressed; and the wire's other ways. */
static void drivers_come_and_go(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		uint64_t without = i & 1 ? UINT64_C(1) << 16 /* STATUS */ : 0;
		struct guest g = attach_with(KEYBOARD, without, i & 2);
		must("{\"do\":\"press\",\"keys\":\"a\"}");
		hears(&g, "1:30:1" END);
		for (unsigned n = 0; n < 200; n++)
			must("{\"do\":\"key\",\"keys\":\"b\"}");
		for (unsigned n = 0; n < 200; n++)
			hears(&g, "1:48:1" END ",1:48:0" END);
		if (i < 3) {
			detach(&g);
		} else {		/* it dies: nobody says good-bye */
			vio_vhost_disconnect(g.front);
			vio_vhost_memory_free(&g.memory);
		}
		while (!strstr(ask("{\"do\":\"stats\"}"), "\"connected\":false"))
			;
		assert_non_null(strstr(ask("{\"do\":\"stats\"}"), "\"down\":[]"));
	}
}

static void it_ends_in_order(void **state)
{
	(void)state;
	fclose(control);
	program_stop(&daemon_, SIGTERM);
	assert_int_equal(daemon_.status, 0);
	for (unsigned i = 0; i < 6; i++)
		assert_int_not_equal(access(path[i], F_OK), 0);
}

static const struct CMUnitTest tests[] = {
	T(command_lines, "command lines that make no sense are refused before anything is made"),
	T(without_a_driver, "without a driver keys are refused rather than lost"),
	T(keys, "keys, shortcuts, texts and events as they are reach the driver, in whole groups {input-dev-3; only us}"),
	T(pointers, "a mouse moves, a tablet points, wheels turn"),
	T(touches, "fingers touch, move and leave, each in its slot"),
	T(what_can_not_be, "what the device can't do is refused in words, and nothing of it happens"),
	T(the_whole_space_is_written, "of a config space that is written whole select and subsel count"),
	T(the_guest_speaks, "lights, sounds, repeat rates and feedback are told on the control socket"),
	T(drivers_come_and_go, "a driver that comes after another finds nothing pressed"),
	T(it_ends_in_order, "it ends in order, confined all the while"),
};

int main(void)
{
	static const char *const names[] = { "keyboard", "mouse", "tablet", "touch", "gamepad", "control" };

	if (!mkdtemp(folder))
		return 1;
	for (unsigned i = 0; i < 6; i++)
		snprintf(path[i], sizeof path[i], "%s/%s", folder, names[i]);
	int status = vio_tests("cmd-input", tests, sizeof tests / sizeof *tests);
	rmdir(folder);
	return status;
}
