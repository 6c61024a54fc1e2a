/* The control socket: connections, lines, calls.  What the verbs do stands in control_verbs.c and in the services. */
#include "control.h"
#include "control_impl.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vio/host/why.h>

enum { CONNECTIONS = 16, LINE = 64 << 10, OUT = 4 << 20, FDS = 16 };

/* Somebody who is connected. */
struct control_conn {
	struct vio_control *control;
	struct vio_watch sock;		/* fd -1: nobody */
	char in[LINE];
	size_t got;
	int fd[FDS];			/* received and not yet taken */
	unsigned fds;
	char *out;			/* not sent yet */
	size_t out_at, out_len, out_room;
	bool events, closing;
};

struct vio_control {
	struct vio_process *process;
	struct vio_loop *loop;		/* the process's */
	struct vio_watch listen;
	struct control_conn *conn[CONNECTIONS];
	struct vio_command *calls;		/* not answered */
};

/* ---- Out ---- */

static void conn_free(struct control_conn *c)
{
	struct vio_control *k = c->control;
	for (struct vio_command *call = k->calls; call; call = call->next)
		if (call->conn == c)
			call->conn = NULL;
	vio_loop_unwatch(k->loop, &c->sock);
	close(c->sock.fd);
	while (c->fds)
		close(c->fd[--c->fds]);
	for (unsigned i = 0; i < CONNECTIONS; i++)
		if (k->conn[i] == c)
			k->conn[i] = NULL;
	vio_loop_watch(k->loop, &k->listen);	/* there is room for one more */
	free(c->out);
	free(c);
}

static void want(struct control_conn *c, uint32_t events)
{
	if (c->sock.events == events)
		return;
	c->sock.events = events;
	vio_loop_watch(c->control->loop, &c->sock);
}

/* False: the other end has gone. */
static bool flush_out(struct control_conn *c)
{
	while (c->out_at < c->out_len) {
		ssize_t n = send(c->sock.fd, c->out + c->out_at, c->out_len - c->out_at, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			want(c, EPOLLIN | EPOLLOUT);
			return true;
		}
		if (n <= 0)
			return false;
		c->out_at += (size_t)n;
	}
	c->out_at = c->out_len = 0;
	want(c, EPOLLIN);
	return true;
}

/* One line.  Who doesn't read what it asked for is cut off rather than remembered without end. */
static void send_line(struct control_conn *c, json_t *line)
{
	char *text = json_dumps(line, JSON_COMPACT);
	size_t n = text ? strlen(text) : 0;
	if (!text || c->closing)
		goto out;
	if (c->out_len + n + 1 > c->out_room) {
		size_t room = (c->out_len + n + 1) * 2;
		char *more = room > OUT ? NULL : realloc(c->out, room);
		if (!more) {
			c->closing = true;
			shutdown(c->sock.fd, SHUT_RDWR);	/* found out in its own turn: c is in use here */
			goto out;
		}
		c->out = more;
		c->out_room = room;
	}
	memcpy(c->out + c->out_len, text, n);
	c->out[c->out_len + n] = '\n';
	c->out_len += n + 1;
	if (!flush_out(c))
		c->closing = true;
out:
	free(text);
}

/* ---- Arguments ---- */

bool control_next_arg(const char **spec, struct control_arg *a)
{
	const char *s = *spec + strspn(*spec, " ");
	if (!*s)
		return false;
	a->optional = *s == '[';
	s += a->optional;
	a->name = s;
	a->name_len = strcspn(s, ":");
	a->kind = s + a->name_len + 1;
	a->kind_len = strcspn(a->kind, " ]");
	*spec = a->kind + a->kind_len + (a->optional ? 1 : 0);
	return true;
}

bool control_is_kind(const struct control_arg *a, const char *kind)
{
	return strlen(kind) == a->kind_len && !memcmp(kind, a->kind, a->kind_len);
}

bool control_kind_has_fd(const struct control_arg *a)
{
	return control_is_kind(a, "file") || control_is_kind(a, "new") || control_is_kind(a, "listen") || control_is_kind(a, "connect");
}

/* The value as the declaration wants it: a new reference, or NULL. */
static json_t *convert(const struct control_arg *a, json_t *v)
{
	uint64_t n;
	const char *text = json_string_value(v);
	if (control_is_kind(a, "number") || control_is_kind(a, "size")) {
		if (json_is_integer(v) && json_integer_value(v) >= 0)
			return json_incref(v);
		return text && vio_opt_size(text, &n) && n <= INT64_MAX ? json_integer((json_int_t)n) : NULL;
	}
	if (control_is_kind(a, "integer")) {
		char *end = NULL;
		long long i = text ? strtoll(text, &end, 0) : 0;
		if (json_is_integer(v))
			return json_incref(v);
		return text && *text && !*end ? json_integer(i) : NULL;
	}
	if (control_is_kind(a, "bool")) {
		if (json_is_boolean(v))
			return json_incref(v);
		bool on = text && (!strcmp(text, "on") || !strcmp(text, "true") || !strcmp(text, "yes"));
		bool off = text && (!strcmp(text, "off") || !strcmp(text, "false") || !strcmp(text, "no"));
		return on || off ? json_boolean(on) : NULL;
	}
	if (control_is_kind(a, "object") || control_is_kind(a, "list"))
		return (control_is_kind(a, "object") ? json_is_object(v) : json_is_array(v)) ? json_incref(v) : NULL;
	return text && *text ? json_incref(v) : NULL;
}

static bool take_arg(struct vio_command *c, const struct control_arg *a, unsigned place, json_t *from, char *why)
{
	char name[64];
	snprintf(name, sizeof name, "%.*s", (int)a->name_len, a->name);
	json_t *v = json_object_get(from, name);
	if (!v)
		return a->optional || vio_refuse(why, "%s needs %s=%.*s", c->verb->name, name, (int)a->kind_len, a->kind);
	json_t *made = convert(a, v);
	if (!made)
		return vio_refuse(why, "%s of %s cannot be that: give a %.*s", name, c->verb->name, (int)a->kind_len, a->kind);
	json_object_set_new(c->args, name, made);
	if (!control_kind_has_fd(a))
		return true;
	struct control_conn *conn = c->conn;
	if (!conn->fds)
		return vio_refuse(why, "%s has to come as a descriptor with the line: vio ctl does that", name);
	c->fd[place] = conn->fd[0];
	memmove(conn->fd, conn->fd + 1, --conn->fds * sizeof *conn->fd);
	json_object_del(from, name);
	return true;
}

static bool take_args(struct vio_command *c, json_t *line, char *why)
{
	static const char *const envelope[] = { "do", "id", "device" };
	struct control_arg a;
	const char *spec = c->verb->args;
	const char *key;
	json_t *value, *rest = json_copy(line);
	unsigned place = 0;
	bool ok = true;
	for (unsigned i = 0; i < sizeof envelope / sizeof *envelope; i++)
		json_object_del(rest, envelope[i]);
	for (; ok && control_next_arg(&spec, &a) && place < VIO_COMMAND_ARGS; place++) {
		char name[64];
		ok = take_arg(c, &a, place, rest, why);
		snprintf(name, sizeof name, "%.*s", (int)a.name_len, a.name);
		json_object_del(rest, name);
	}
	json_object_foreach(rest, key, value) {
		if (ok)
			ok = vio_refuse(why, "%s takes no %.40s: %s%s", c->verb->name, key,
			    *c->verb->args ? "it takes " : "it takes nothing", c->verb->args);
	}
	json_decref(rest);
	return ok;
}

bool vio_command_has(const struct vio_command *c, const char *name) { return json_object_get(c->args, name) != NULL; }

const char *vio_command_text(const struct vio_command *c, const char *name)
{
	return json_string_value(json_object_get(c->args, name));
}

uint64_t vio_command_number(const struct vio_command *c, const char *name, uint64_t otherwise)
{
	json_t *v = json_object_get(c->args, name);
	return v ? (uint64_t)json_integer_value(v) : otherwise;
}

int64_t vio_command_integer(const struct vio_command *c, const char *name, int64_t otherwise)
{
	json_t *v = json_object_get(c->args, name);
	return v ? json_integer_value(v) : otherwise;
}

bool vio_command_flag(const struct vio_command *c, const char *name) { return json_is_true(json_object_get(c->args, name)); }

int vio_command_fd(struct vio_command *c, const char *name)
{
	struct control_arg a;
	const char *spec = c->verb->args;
	for (unsigned i = 0; control_next_arg(&spec, &a) && i < VIO_COMMAND_ARGS; i++)
		if (strlen(name) == a.name_len && !memcmp(name, a.name, a.name_len)) {
			int fd = c->fd[i];
			c->fd[i] = -1;
			return fd;
		}
	return -1;
}

/* ---- Calls ---- */

static bool elsewhere(const struct vio_command *c) { return c->unit && c->unit->loop != c->process->loop; }

/* What whoever ran it had of it. */
static void let_go(struct vio_command *c)
{
	if (c->kept)
		*c->kept = NULL;
	c->kept = NULL;
	if (!c->in_unit)
		return;
	struct vio_command **at = &c->unit->commands;
	while (*at != c)
		at = &(*at)->next_of_unit;
	*at = c->next_of_unit;
	c->in_unit = false;
}

/* The answer, in the process's loop; why is NULL or why it failed. */
static void finish(struct vio_command *c, const char *why)
{
	struct vio_control *k = c->process->control;
	for (struct vio_command **at = &k->calls; *at; at = &(*at)->next)
		if (*at == c) {
			*at = c->next;
			break;
		}
	json_t *line = json_object();
	if (c->id)
		json_object_set(line, "id", c->id);
	if (why)
		json_object_set_new(line, "error", json_string(why));
	else
		json_object_set(line, "ok", c->answer);
	if (c->conn)
		send_line(c->conn, line);
	json_decref(line);
	for (unsigned i = 0; i < VIO_COMMAND_ARGS; i++)
		if (c->fd[i] >= 0)
			close(c->fd[i]);
	json_decref(c->args);
	json_decref(c->answer);
	json_decref(c->id);
	free(c->why);
	free(c);
}

static void come_back(void *arg)
{
	struct vio_command *c = arg;
	finish(c, c->why);
}

void vio_command_done(struct vio_command *c, const char *why)
{
	bool away = elsewhere(c);
	let_go(c);
	if (!away) {
		finish(c, why);
		return;
	}
	if (why && !(c->why = strdup(why)))
		why = NULL;	/* no memory for a sentence: no use in saying so */
	c->hop = (struct vio_call){ .fn = come_back, .arg = c };
	vio_loop_call(c->process->loop, &c->hop);
}

/* In the unit's loop, if it has one. */
static void run(struct vio_command *c)
{
	char why[VIO_WHY] = "";
	if (c->unit) {
		c->next_of_unit = c->unit->commands;
		c->unit->commands = c;
		c->in_unit = true;
	}
	bool ok = c->verb->run(c, why);
	if (!ok || !c->later)
		vio_command_done(c, ok ? NULL : why);
}

static void run_there(void *arg)
{
	struct vio_command *c = arg;
	if (c->unit->state == VIO_UNIT_SERVING)
		run(c);
	else
		vio_command_done(c, "the device ends");
}

void vio_control_leave(struct vio_unit *u)
{
	control_undrain(u);
	while (u->commands)
		vio_command_done(u->commands, "the device ends");
}

/* By number, which may be text, or by name; NULL: there is none. */
static struct vio_unit *unit_called(const struct vio_process *p, json_t *device)
{
	json_t *number = convert(&(struct control_arg){ .kind = "number", .kind_len = 6 }, device);
	const char *name = json_string_value(device);
	uint64_t i = number ? (uint64_t)json_integer_value(number) : UINT64_MAX;
	json_decref(number);
	if (i <= UINT32_MAX)
		return vio_process_unit(p, (unsigned)i);
	for (unsigned k = 0; name && k < p->units; k++)
		if (!strcmp(p->unit[k]->id, name))
			return p->unit[k];
	return NULL;
}

/* The first device that can do it: that is the one that is meant where none is named. */
static struct vio_unit *unit_with(const struct vio_process *p, const char *verb)
{
	for (unsigned i = 0; i < p->units; i++)
		if (control_verb_of(p->unit[i]->service, verb))
			return p->unit[i];
	return NULL;
}

static bool find_verb(struct vio_command *c, json_t *line, const char *name, char *why)
{
	const struct vio_process *p = c->process;
	json_t *device = json_object_get(line, "device");
	struct vio_unit *able = unit_with(p, name);
	c->verb = device ? control_verb_of_any_device(name) : NULL;
	if (!c->verb)
		c->verb = control_verb(p, name);
	if (!c->verb && !able)
		return vio_refuse(why, "%.40s is not known here: {\"do\": \"help\"} lists what is", name);
	if (c->verb && c->verb->of_process)
		return true;
	struct vio_unit *u = device ? unit_called(p, device) : c->verb ? vio_process_unit(p, 0) : able;
	if (!u)
		return vio_refuse(why, p->units ? "there is no such device here: they count from 0, and the greeting lists them"
		    : "there is no device here");
	if (!c->verb)
		c->verb = control_verb_of(u->service, name);
	if (!c->verb)
		return vio_refuse(why, "%.40s is not known to %.40s: {\"do\": \"help\"} lists what is", name, u->id);
	c->unit = c->verb->of_process ? NULL : u;
	return true;
}

/* False: why.  True: it runs, or has run, and c is not ours any more. */
static bool begin(struct vio_command *c, json_t *line, char *why)
{
	const char *name = json_string_value(json_object_get(line, "do"));
	if (!name)
		return vio_refuse(why, "the line does not say what to do: {\"do\": \"help\"} lists what there is");
	if (!find_verb(c, line, name, why) || !take_args(c, line, why))
		return false;
	if (elsewhere(c)) {
		c->hop = (struct vio_call){ .fn = run_there, .arg = c };
		vio_loop_call(c->unit->loop, &c->hop);
	} else {
		run(c);
	}
	return true;
}

static void handle(struct control_conn *conn, const char *text, size_t n)
{
	char why[VIO_WHY] = "";
	json_error_t error;
	json_t *line = json_loadb(text, n, JSON_REJECT_DUPLICATES, &error);
	struct vio_command *c = calloc(1, sizeof *c);
	if (!c) {
		json_decref(line);
		return;
	}
	*c = (struct vio_command){ .process = conn->control->process, .args = json_object(), .answer = json_object(), .conn = conn,
		.next = conn->control->calls };
	for (unsigned i = 0; i < VIO_COMMAND_ARGS; i++)
		c->fd[i] = -1;
	conn->control->calls = c;
	bool begun = false;
	if (!json_is_object(line)) {
		vio_refuse(why, "the line is not a JSON object: %s", line ? "it is something else" : error.text);
	} else {
		c->id = json_incref(json_object_get(line, "id"));
		begun = begin(c, line, why);
	}
	json_decref(line);
	if (!begun)
		finish(c, why);
}

/* ---- In ---- */

static void keep_fds(struct control_conn *c, struct msghdr *m)
{
	for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		size_t n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(h) + i * sizeof fd, sizeof fd);
			if (c->fds < FDS)
				c->fd[c->fds++] = fd;
			else
				close(fd);
		}
	}
}

/* Complete lines are answered; false: too long a line. */
static bool take_lines(struct control_conn *c)
{
	char *at = c->in, *end;
	while (!c->closing && (end = memchr(at, '\n', c->got - (size_t)(at - c->in)))) {
		if (end > at)
			handle(c, at, (size_t)(end - at));
		at = end + 1;
	}
	c->got -= (size_t)(at - c->in);
	memmove(c->in, at, c->got);
	return c->got < sizeof c->in;
}

static void on_conn(struct vio_watch *w, uint32_t events)
{
	struct control_conn *c = w->arg;
	union { char bytes[CMSG_SPACE(FDS * sizeof(int))]; struct cmsghdr align; } fds;
	struct iovec iov = { c->in + c->got, sizeof c->in - c->got };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = fds.bytes, .msg_controllen = sizeof fds.bytes };
	if (events & EPOLLOUT && !flush_out(c)) {
		conn_free(c);
		return;
	}
	if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	ssize_t n = recvmsg(w->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0) {
		keep_fds(c, &m);
		c->got += (size_t)n;
	}
	if (n <= 0 || !take_lines(c) || c->closing)
		conn_free(c);
}

static void greet(struct control_conn *c)
{
	const struct vio_process *p = c->control->process;
	json_t *devices = json_array(), *types = json_array(), *line = json_object();
	for (unsigned i = 0; i < p->units; i++) {
		json_array_append_new(devices, json_string(p->unit[i]->id));
		json_array_append_new(types, json_string(p->unit[i]->service->type->name));
	}
	json_object_set_new(line, "vio", json_string(VIO_VERSION));
	json_object_set_new(line, "control", json_integer(VIO_CONTROL_VERSION));
	json_object_set_new(line, "type", json_string(p->type));
	json_object_set_new(line, "devices", devices);
	json_object_set_new(line, "types", types);
	send_line(c, line);
	json_decref(line);
}

static void on_listen(struct vio_watch *w, uint32_t events)
{
	struct vio_control *k = w->arg;
	unsigned i = 0;
	(void)events;
	while (i < CONNECTIONS && k->conn[i])
		i++;
	if (i == CONNECTIONS) {		/* whoever comes now waits until another one has gone */
		vio_loop_unwatch(k->loop, w);
		return;
	}
	int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	struct control_conn *c = calloc(1, sizeof *c);
	if (c) {
		*c = (struct control_conn){ .control = k, .sock = { .fd = fd, .events = EPOLLIN, .ready = on_conn, .arg = c } };
		if (vio_loop_watch(k->loop, &c->sock)) {
			k->conn[i] = c;
			greet(c);
			return;
		}
	}
	free(c);
	close(fd);
}

/* ---- Events ---- */

enum { EVENT_NAME = 32 };

/* more is taken, and may be NULL; device: its number now, or -1. */
static void tell(struct vio_process *p, const char *event, int device, json_t *more)
{
	struct vio_control *k = p->control;
	json_t *line = json_pack("{s:s}", "event", event);
	if (device >= 0)
		json_object_set_new(line, "device", json_integer(device));
	if (more)
		json_object_update_missing(line, more);
	for (unsigned i = 0; k && i < CONNECTIONS; i++)
		if (k->conn[i] && k->conn[i]->events)
			send_line(k->conn[i], line);
	json_decref(more);
	json_decref(line);
}

void vio_control_event_of_process(struct vio_process *p, const char *event, json_t *more) { tell(p, event, -1, more); }

/* One that is leaving has no number. */
static int number_of(const struct vio_unit *u)
{
	const struct vio_process *p = u->process;
	unsigned i = 0;
	while (i < p->units && p->unit[i] != u)
		i++;
	return i < p->units ? (int)i : -1;
}

/* On its way from the unit's loop. */
struct news { struct vio_call call; struct vio_unit *unit; char event[EVENT_NAME]; json_t *more; };

static void bring_news(void *arg)
{
	struct news *n = arg;
	json_object_set_new(n->more, "name", json_string(n->unit->id));
	tell(n->unit->process, n->event, number_of(n->unit), n->more);
	free(n);
}

void vio_control_event(struct vio_unit *u, const char *event, json_t *more)
{
	struct vio_process *p = u->process;
	struct news *n = NULL;
	if (!p->control || u->state == VIO_UNIT_IDLE || u->state == VIO_UNIT_STOPPED) {
		json_decref(more);
	} else if (u->loop == p->loop || vio_loop_is_mine(p->loop)) {
		tell(p, event, number_of(u), more);
	} else if ((n = malloc(sizeof *n))) {
		*n = (struct news){ .call = { .fn = bring_news, .arg = n }, .unit = u, .more = more ? more : json_object() };
		snprintf(n->event, sizeof n->event, "%s", event);
		vio_loop_call(p->loop, &n->call);
	} else {
		json_decref(more);
	}
}

void control_want_events(struct vio_command *c) { c->conn->events = true; }

/* ---- Life ---- */

struct vio_control *vio_control_open(struct vio_process *p, const char *path, struct vio_socket_file *file, char *why)
{
	int fd = vio_socket_listen(&(struct vio_socket_options){ .path = path, .mode = 0600 }, why);
	struct vio_control *k = fd < 0 ? NULL : calloc(1, sizeof *k);
	if (!k || !vio_socket_file(file, path, -1, why))
		goto failed;
	*k = (struct vio_control){ .process = p, .loop = p->loop,
		.listen = { .fd = fd, .events = EPOLLIN, .ready = on_listen, .arg = k } };
	if (vio_loop_watch(k->loop, &k->listen))
		return k;
	vio_refuse(why, "cannot wait for control connections: %s; raise the limit of open files (ulimit -n)", strerror(errno));
failed:
	if (fd >= 0) {
		close(fd);
		unlink(path);
	}
	free(k);
	return NULL;
}

void vio_control_close(struct vio_control *k)
{
	if (!k)
		return;
	while (k->calls) {
		struct vio_command *c = k->calls;
		let_go(c);	/* of this loop's: units with threads of their own have let go of all */
		finish(c, "the daemon ends");
	}
	for (unsigned i = 0; i < CONNECTIONS; i++)
		if (k->conn[i])
			conn_free(k->conn[i]);
	vio_loop_unwatch(k->loop, &k->listen);
	close(k->listen.fd);
	free(k);
}
