/* Readiness, as service managers understand it: sd_notify(3), without the library. */
#include "daemon.h"
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <vio/host/why.h>

static int manager = -1;

bool vio_notify_open(char *why)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	const char *path = getenv("NOTIFY_SOCKET");
	size_t n = path ? strlen(path) : 0;

	if (!n)
		return true;
	if (n >= sizeof to.sun_path || (*path != '/' && *path != '@'))
		return vio_refuse(why, "NOTIFY_SOCKET=%.100s is not a socket's name: unset it, or let the service manager set it", path);
	memcpy(to.sun_path, path, n);
	if (*path == '@')
		to.sun_path[0] = 0;	/* the abstract namespace */
	manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (manager >= 0 && !connect(manager, (struct sockaddr *)&to, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)))
		return true;
	vio_refuse(why, "cannot reach the service manager at NOTIFY_SOCKET=%.100s: %s", path, strerror(errno));
	if (manager >= 0)
		close(manager);
	manager = -1;
	return false;
}

void vio_notify_ready(void)
{
	static const char ready[] = "READY=1";

	if (manager < 0)
		return;
	if (send(manager, ready, sizeof ready - 1, MSG_NOSIGNAL) < 0)
		vio_say("vio", "cannot tell the service manager that this serves: %s", strerror(errno));
	close(manager);
	manager = -1;
}
