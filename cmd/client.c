#include "client.h"
#include "daemon.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FDS = 16 };

bool client_open(struct client *c, const char *path, char *why)
{
	*c = (struct client){ .fd = vio_socket_connect(path, "start the daemon with --control=PATH", why) };
	if (c->fd < 0)
		return false;
	c->in = fdopen(c->fd, "r");
	c->greeting = c->in ? client_receive(c, why) : NULL;
	if (json_is_integer(json_object_get(c->greeting, "control")))
		return true;
	if (c->greeting)
		vio_refuse(why, "%s is not the control socket of a vio daemon: give the PATH of its --control=PATH", path);
	client_close(c);
	return false;
}

void client_close(struct client *c)
{
	json_decref(c->greeting);
	if (c->in)
		fclose(c->in);
	else if (c->fd >= 0)
		close(c->fd);
	*c = (struct client){ .fd = -1 };
}

bool client_send(struct client *c, json_t *line, const int *fds, unsigned n, char *why)
{
	union { char bytes[CMSG_SPACE(FDS * sizeof(int))]; struct cmsghdr align; } room = { { 0 } };
	char *text = json_dumps(line, JSON_COMPACT);
	size_t len = text ? strlen(text) : 0, at = 0;
	bool ok = text != NULL;
	if (text)
		text[len++] = '\n';	/* in place of the NUL */
	while (ok && at < len) {
		struct iovec iov = { text + at, len - at };
		struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
		if (n && !at) {
			m.msg_control = room.bytes;
			m.msg_controllen = CMSG_SPACE(n * sizeof(int));
			struct cmsghdr *h = CMSG_FIRSTHDR(&m);
			*h = (struct cmsghdr){ .cmsg_len = CMSG_LEN(n * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
			memcpy(CMSG_DATA(h), fds, n * sizeof(int));
		}
		ssize_t sent = sendmsg(c->fd, &m, MSG_NOSIGNAL);
		if (sent > 0)
			at += (size_t)sent;
		else if (errno != EINTR)
			ok = vio_refuse(why, "the daemon does not listen any more: %s", strerror(errno));
	}
	free(text);
	return ok;
}

json_t *client_receive(struct client *c, char *why)
{
	json_error_t error;
	char *text = NULL;
	size_t room = 0;
	ssize_t n = getline(&text, &room, c->in);
	json_t *line = n > 0 ? json_loadb(text, (size_t)n, 0, &error) : NULL;
	if (n <= 0)
		vio_refuse(why, "the daemon has ended the connection");
	else if (!line)
		vio_refuse(why, "what came is not JSON: %s", error.text);
	free(text);
	return line;
}

json_t *client_ask(struct client *c, json_t *line, const int *fds, unsigned n, char *why)
{
	if (!client_send(c, line, fds, n, why))
		return NULL;
	for (;;) {
		json_t *answer = client_receive(c, why);
		if (!answer)
			return NULL;
		json_t *ok = json_incref(json_object_get(answer, "ok"));
		const char *error = json_string_value(json_object_get(answer, "error"));
		bool event = json_object_get(answer, "event") != NULL;
		if (error)
			vio_refuse(why, "%s", error);
		json_decref(answer);
		if (!event)
			return ok;
	}
}
