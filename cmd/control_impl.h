/* Between control.c (the socket) and control_verbs.c (what every daemon can be asked). */
#ifndef VIO_CMD_CONTROL_IMPL_H
#define VIO_CMD_CONTROL_IMPL_H
#include "control.h"

/* One argument of a declaration (struct vio_verb, args). */
struct control_arg { const char *name, *kind; size_t name_len, kind_len; bool optional; };
bool control_next_arg(const char **spec, struct control_arg *a);
bool control_is_kind(const struct control_arg *a, const char *kind);
bool control_kind_has_fd(const struct control_arg *a);

/* The daemon's verb of this name, or NULL. */
const struct vio_verb *control_verb(struct vio_daemon *d, const char *name);
/* Who makes this call wants to be told of events. */
void control_want_events(struct vio_command *c);
#endif
