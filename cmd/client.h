/* The client's end of a control socket: what vio ctl and vio top share. */
#ifndef VIO_CMD_CLIENT_H
#define VIO_CMD_CLIENT_H
#include <jansson.h>
#include <stdio.h>
#include <vio/host/why.h>

struct client { int fd; FILE *in; json_t *greeting; };

/* Connect and be greeted.  False: why (VIO_WHY bytes) has a sentence. */
bool client_open(struct client *c, const char *path, char *why);
void client_close(struct client *c);
/* Send a line, with descriptors. */
bool client_send(struct client *c, json_t *line, const int *fds, unsigned n, char *why);
/* The next line, a new reference; NULL: why has a sentence. */
json_t *client_receive(struct client *c, char *why);
/* Ask and wait for the answer: what stands behind "ok", a new reference; NULL: why has the daemon's sentence. */
json_t *client_ask(struct client *c, json_t *line, const int *fds, unsigned n, char *why);
#endif
