/*
 * Devices with threads of their own behind one control socket, as a machine has them: verbs run in the device's loop, and answers
 * and events come back.  What the devices do there a machine would do too; only nobody drives them.
 */
#include "../test.h"
#include <cmd/client.h>
#include <cmd/control.h>
#include <cmd/run_words.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { UNITS = 4, IMAGE = 1 << 20 };
static const char *const names[UNITS] = { "blk0", "net0", "rng0", "rng1" }, *const types[UNITS] = { "blk", "net", "rng", "rng" };

static char folder[] = "/tmp/vio-units-XXXXXX", image[64], control[64];
static struct run_words words;
static struct vio_unit unit[UNITS], *list[UNITS];
static struct vio_thread *home;
static struct vio_socket_file control_file;
static unsigned resumed, quits;		/* the process's verbs; in its loop */

/* ---- A process ---- */

static bool resume(struct vio_command *c, char *why)
{
	(void)c, (void)why;
	resumed++;
	return true;
}

static const struct vio_verb own[] = { { "resume", "", "Goes on.", true, resume }, { NULL, NULL, NULL, false, NULL } };

static void quit(struct vio_process *p)
{
	(void)p;
	quits++;
}

static struct vio_process process = { .program = "test", .type = "machine", .verbs = own, .quit = quit, .unit = list };

/* ---- A service whose verb takes as long as somebody likes ---- */

static struct vio_service slow;
static struct vio_command *waiting;	/* the unit's loop's */

static bool wait_for_go(struct vio_command *c, char *why)
{
	if (waiting)
		return vio_refuse(why, "somebody waits already: say go");
	waiting = c;
	c->kept = &waiting;
	c->later = true;
	return true;
}

static bool go(struct vio_command *c, char *why)
{
	if (!waiting)
		return vio_refuse(why, "nobody waits");
	vio_control_event(c->unit, "gone", json_pack("{s:i}", "far", 7));
	vio_command_done(waiting, vio_command_flag(c, "fail") ? "it was not to be" : NULL);
	return true;
}

static bool who_waits(struct vio_command *c, char *why)
{
	(void)why;
	json_object_set_new(c->answer, "waits", json_boolean(waiting));
	return true;
}

static const struct vio_verb slow_verbs[] = {
	{ "who-waits", "", "Does somebody?", false, who_waits },
	{ "wait", "", "Waits for go.", false, wait_for_go },
	{ "go", "[fail:bool]", "Lets it.", false, go },
	{ NULL, NULL, NULL, false, NULL },
};

/* ---- Life ---- */

struct outcome { char why[VIO_WHY]; bool ok; };

static void open_control(void *arg)
{
	struct outcome *o = arg;
	process.control = vio_control_open(&process, control, &control_file, o->why);
	o->ok = process.control;
}

static void start_unit(void *arg)
{
	struct outcome *o = arg;
	struct vio_unit *u = &unit[process.units];

	o->ok = vio_unit_start(u, o->why);
	list[process.units++] = u;
}

static void must(void (*fn)(void *arg))
{
	struct outcome o = { .why = "" };

	vio_loop_ask(process.loop, fn, &o);
	if (!o.ok)
		fail_msg("%s", o.why);
}

static int set_up(void **state)
{
	char blk[80], at[80], why[VIO_OPT_WHY];
	char *argv[] = { "run", "--kernel=k", blk, "--net=null", "--rng", "--rng", at };

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(image, sizeof image, "%s/image", folder);
	snprintf(control, sizeof control, "%s/control", folder);
	snprintf(blk, sizeof blk, "--blk=%s", image);
	snprintf(at, sizeof at, "--control=%s", control);
	int fd = open(image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(ftruncate(fd, IMAGE), 0);
	close(fd);
	if (!run_words_parse(&words, sizeof argv / sizeof *argv, argv, why))
		fail_msg("%s", why);
	json_object_seed(0);
	home = vio_thread_start("home");
	process.loop = vio_thread_loop(home);
	slow = vio_service_rng;
	slow.verbs = slow_verbs;
	for (unsigned i = 0; i < UNITS; i++) {
		struct run_device *d = &words.device[i];
		unit[i] = (struct vio_unit){ .service = i == 3 ? &slow : d->service, .args = d->args.device[0], .name = d->name, .process = &process,
			.stop_deadline_ns = UINT64_C(5000000000) };
		must(start_unit);
	}
	must(open_control);
	return 0;
}

static unsigned left;

static void gone(struct vio_unit *u, int error)
{
	(void)u;
	assert_int_equal(error, 0);
	__atomic_add_fetch(&left, 1, __ATOMIC_SEQ_CST);
}

static void let_last_go(void *arg)
{
	(void)arg;
	vio_unit_leave(list[--process.units], gone);
}

static void nothing(void *arg) { (void)arg; }

/* The last one in the list goes. */
static void leave(void)
{
	unsigned before = __atomic_load_n(&left, __ATOMIC_SEQ_CST);

	vio_loop_ask(process.loop, let_last_go, NULL);
	while (__atomic_load_n(&left, __ATOMIC_SEQ_CST) == before)
		vio_loop_ask(process.loop, nothing, NULL);
}

static void close_control(void *arg)
{
	(void)arg;
	vio_control_close(process.control);
	process.control = NULL;
}

static int tear_down(void **state)
{
	(void)state;
	while (process.units)
		leave();
	vio_loop_ask(process.loop, close_control, NULL);
	assert_int_equal(vio_socket_remove(&control_file), 0);
	vio_thread_stop(home);
	run_words_free(&words);
	unlink(image);
	return rmdir(folder);
}

/* ---- A client ---- */

static void connect_to(struct client *c)
{
	char why[VIO_WHY];
	if (!client_open(c, control, why))
		fail_msg("%s", why);
}

/* The answer's "ok", a new reference; or NULL and the sentence. */
static json_t *ask(struct client *c, const char *line, char *why)
{
	json_t *l = json_loads(line, 0, NULL), *answer = client_ask(c, l, NULL, 0, why);
	json_decref(l);
	return answer;
}

static void good(struct client *c, const char *line, const char *expected)
{
	char why[VIO_WHY];
	json_t *answer = ask(c, line, why), *wanted = json_loads(expected, 0, NULL);
	if (!answer)
		fail_msg("%s: %s", line, why);
	assert_true(json_equal(answer, wanted));
	json_decref(answer);
	json_decref(wanted);
}

static void bad(struct client *c, const char *line, const char *sentence)
{
	char why[VIO_WHY] = "";
	json_t *answer = ask(c, line, why);
	assert_null(answer);
	assert_string_equal(why, sentence);
}

/* ---- Tests ---- */

static void greeting(void **state)
{
	struct client c;

	(void)state;
	connect_to(&c);
	assert_string_equal(json_string_value(json_object_get(c.greeting, "type")), "machine");
	for (unsigned i = 0; i < UNITS; i++) {
		assert_string_equal(json_string_value(json_array_get(json_object_get(c.greeting, "devices"), i)), names[i]);
		assert_string_equal(json_string_value(json_array_get(json_object_get(c.greeting, "types"), i)), types[i]);
	}
	good(&c, "{\"do\":\"devices\"}", "{\"devices\":[{\"name\":\"blk0\",\"type\":\"blk\"},{\"name\":\"net0\",\"type\":\"net\"},"
	    "{\"name\":\"rng0\",\"type\":\"rng\"},{\"name\":\"rng1\",\"type\":\"rng\"}]}");
	client_close(&c);
}

static void which(void **state)
{
	struct client c;
	char line[64], why[VIO_WHY];

	(void)state;
	connect_to(&c);
	for (unsigned i = 0; i < 2 * UNITS; i++) {	/* by number and by name */
		if (i & 1)
			snprintf(line, sizeof line, "{\"do\":\"stats\",\"device\":\"%s\"}", names[i / 2]);
		else
			snprintf(line, sizeof line, "{\"do\":\"stats\",\"device\":%u}", i / 2);
		json_t *stats = ask(&c, line, why);
		assert_string_equal(json_string_value(json_object_get(stats, "name")), names[i / 2]);
		assert_string_equal(json_string_value(json_object_get(stats, "type")), types[i / 2]);
		assert_true(json_is_false(json_object_get(stats, "connected")));
		json_decref(stats);
	}
	bad(&c, "{\"do\":\"stats\",\"device\":\"blk1\"}", "there is no such device here: they count from 0, and the greeting lists them");
	bad(&c, "{\"do\":\"stats\",\"device\":4}", "there is no such device here: they count from 0, and the greeting lists them");
	bad(&c, "{\"do\":\"link\",\"device\":\"blk0\"}", "link is not known to blk0: {\"do\": \"help\"} lists what is");
	bad(&c, "{\"do\":\"explode\",\"device\":\"blk0\"}", "explode is not known here: {\"do\": \"help\"} lists what is");
	good(&c, "{\"do\":\"link\"}", "{\"up\":true,\"cut\":false}");	/* the first that has it */
	good(&c, "{\"do\":\"resize\"}", "{\"bytes\":1048576}");
	client_close(&c);
}

/* The process and its devices have a verb of one name. */
static void two_resumes(void **state)
{
	struct client c;
	char why[VIO_WHY];

	(void)state;
	connect_to(&c);
	good(&c, "{\"do\":\"drain\",\"device\":\"net0\"}", "{}");
	good(&c, "{\"do\":\"resume\"}", "{}");
	json_t *stats = ask(&c, "{\"do\":\"stats\",\"device\":\"net0\"}", why);
	assert_true(json_is_true(json_object_get(stats, "held")));
	json_decref(stats);
	good(&c, "{\"do\":\"resume\",\"device\":\"net0\"}", "{}");
	stats = ask(&c, "{\"do\":\"stats\",\"device\":\"net0\"}", why);
	assert_true(json_is_false(json_object_get(stats, "held")));
	json_decref(stats);
	good(&c, "{\"do\":\"limit\",\"device\":\"net0\",\"bytes\":\"1M\"}", "{\"limits\":{\"operations\":0,\"bytes\":1048576}}");
	good(&c, "{\"do\":\"limit\",\"device\":\"net0\",\"bytes\":0}", "{\"limits\":{\"operations\":0,\"bytes\":0}}");
	good(&c, "{\"do\":\"quit\"}", "{}");
	vio_loop_ask(process.loop, nothing, NULL);
	assert_int_equal(resumed, 1);
	assert_int_equal(quits, 1);
	client_close(&c);
}

static void next_line(struct client *c, const char *expected)
{
	char why[VIO_WHY];
	json_t *line = client_receive(c, why), *wanted = json_loads(expected, 0, NULL);
	if (!json_equal(line, wanted))
		fail_msg("%s instead of %s", json_dumps(line, JSON_COMPACT), expected);
	json_decref(line);
	json_decref(wanted);
}

static void events(void **state)
{
	struct client c, watcher;

	(void)state;
	connect_to(&c);
	connect_to(&watcher);
	good(&watcher, "{\"do\":\"events\"}", "{}");
	good(&c, "{\"do\":\"resize\",\"device\":\"blk0\",\"bytes\":\"2M\"}", "{\"bytes\":2097152}");
	next_line(&watcher, "{\"event\":\"resized\",\"device\":0,\"name\":\"blk0\",\"bytes\":2097152}");
	int fd = open(image, O_WRONLY | O_CLOEXEC);
	assert_int_equal(ftruncate(fd, 3 * IMAGE), 0);
	close(fd);		/* which tells the device's thread */
	next_line(&watcher, "{\"event\":\"resized\",\"device\":0,\"name\":\"blk0\",\"bytes\":3145728}");
	good(&c, "{\"do\":\"link\",\"device\":1,\"state\":\"down\"}", "{\"up\":false,\"cut\":true}");
	next_line(&watcher, "{\"event\":\"link\",\"device\":1,\"name\":\"net0\",\"up\":false}");
	client_close(&c);
	client_close(&watcher);
}

static void send_line(struct client *c, const char *line)
{
	char why[VIO_WHY];
	json_t *l = json_loads(line, 0, NULL);
	assert_true(client_send(c, l, NULL, 0, why));
	json_decref(l);
}

/* What another connection sent may still be on its way. */
static void until_somebody_waits(struct client *c)
{
	char why[VIO_WHY];
	bool waits = false;
	while (!waits) {
		json_t *answer = ask(c, "{\"do\":\"who-waits\"}", why);
		waits = json_is_true(json_object_get(answer, "waits"));
		json_decref(answer);
	}
}

static void later(void **state)
{
	struct client c, other, fool;

	(void)state;
	connect_to(&c);
	connect_to(&other);
	connect_to(&fool);
	good(&other, "{\"do\":\"events\"}", "{}");
	send_line(&c, "{\"do\":\"wait\",\"id\":5}");
	send_line(&c, "{\"do\":\"wait\",\"id\":6}");
	next_line(&c, "{\"id\":6,\"error\":\"somebody waits already: say go\"}");
	good(&other, "{\"do\":\"go\",\"device\":\"rng1\"}", "{}");
	next_line(&c, "{\"id\":5,\"ok\":{}}");
	send_line(&c, "{\"do\":\"wait\",\"id\":7}");
	good(&fool, "{\"do\":\"devices\"}", "{\"devices\":[{\"name\":\"blk0\",\"type\":\"blk\"},{\"name\":\"net0\",\"type\":\"net\"},"
	    "{\"name\":\"rng0\",\"type\":\"rng\"},{\"name\":\"rng1\",\"type\":\"rng\"}]}");
	until_somebody_waits(&fool);
	good(&fool, "{\"do\":\"go\",\"fail\":true}", "{}");
	next_line(&c, "{\"id\":7,\"error\":\"it was not to be\"}");
	/* Who asked has gone when the answer comes. */
	send_line(&fool, "{\"do\":\"wait\"}");
	bad(&fool, "{\"do\":\"wait\"}", "somebody waits already: say go");
	client_close(&fool);
	good(&other, "{\"do\":\"go\"}", "{}");
	client_close(&c);
	client_close(&other);
}

/* A client that asks all devices, until told to end; how often it was answered. */
static bool enough;

static void *crowd(void *arg)
{
	unsigned *answers = arg;
	char why[VIO_WHY], line[64];
	struct client c;

	connect_to(&c);
	for (unsigned i = 0; !__atomic_load_n(&enough, __ATOMIC_SEQ_CST) || i < 100; i++) {
		snprintf(line, sizeof line, "{\"do\":\"stats\",\"device\":%u}", i % UNITS);
		json_t *answer = ask(&c, line, why);
		if (!answer && strncmp(why, "there is no such device", 23) && strcmp(why, "the device ends"))
			break;
		++*answers;
		json_decref(answer);
	}
	client_close(&c);
	return NULL;
}

static void leaves(void **state)
{
	enum { CLIENTS = 3 };
	unsigned answers[CLIENTS] = { 0 };
	pthread_t thread[CLIENTS];
	struct client c, other;

	(void)state;
	connect_to(&c);
	connect_to(&other);
	enough = false;
	for (unsigned i = 0; i < CLIENTS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, crowd, &answers[i]), 0);
	send_line(&c, "{\"do\":\"wait\",\"id\":8}");
	until_somebody_waits(&other);
	client_close(&other);
	leave();
	next_line(&c, "{\"id\":8,\"error\":\"the device ends\"}");
	bad(&c, "{\"do\":\"wait\"}", "wait is not known here: {\"do\": \"help\"} lists what is");
	bad(&c, "{\"do\":\"stats\",\"device\":\"rng1\"}", "there is no such device here: they count from 0, and the greeting lists them");
	leave();
	__atomic_store_n(&enough, true, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < CLIENTS; i++) {
		pthread_join(thread[i], NULL);
		assert_true(answers[i] >= 100);
	}
	good(&c, "{\"do\":\"devices\"}", "{\"devices\":[{\"name\":\"blk0\",\"type\":\"blk\"},{\"name\":\"net0\",\"type\":\"net\"}]}");
	client_close(&c);
}

static void try_again(void *arg)
{
	struct outcome *o = arg;
	static struct vio_unit u;

	u = (struct vio_unit){ .service = words.device[0].service, .args = words.device[0].args.device[0], .name = words.device[0].name,
		.process = &process };
	o->ok = vio_unit_start(&u, o->why);
}

/* The image has a writer already. */
static void fails(void **state)
{
	struct outcome o = { .why = "" };
	struct client c;

	(void)state;
	vio_loop_ask(process.loop, try_again, &o);
	assert_false(o.ok);
	assert_non_null(strstr(o.why, image));
	connect_to(&c);
	good(&c, "{\"do\":\"resize\",\"device\":\"blk0\"}", "{\"bytes\":3145728}");
	client_close(&c);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(greeting, "who connects is told the devices by name and type"),
		T(which, "a device is meant by number or name, or is the first that has the verb"),
		T(two_resumes, "where the process and a device have a verb of one name, a device that is named is meant"),
		T(events, "events come from the device's thread, with its number and name"),
		T(later, "an answer that takes its time holds up nobody, and nobody needs to wait for it"),
		T(fails, "a device that can't be opened leaves nothing, and its neighbours serve on"),
		T(leaves, "a device that leaves answers all it was asked, whoever asks at that moment"),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return _cmocka_run_group_tests("units", tests, sizeof tests / sizeof *tests, set_up, tear_down);
}
